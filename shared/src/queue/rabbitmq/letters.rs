//! Visits the letters of a queue on the broker.

use secrecy::SecretString;

use super::{
    operator::Operator,
    shovel::{Shovel, Step},
    wire,
};
use crate::{
    config::Config,
    lifecycle::{Exit, Failure},
    queue::dead_letters::{Action, Visit, Visited, revive},
};

/// Goes through the letters on the broker at `url`.
pub(in crate::queue) async fn visit(
    url: &SecretString,
    config: &Config,
    visit: Visit<'_>,
) -> Result<Visited, Failure> {
    let operator = Operator::connect(url, config).await?;
    let visited = visit_with(&operator, visit).await;
    operator.close().await;
    visited
}

/// Goes through the letters with a connection that is there.
pub(super) async fn visit_with(operator: &Operator, visit: Visit<'_>) -> Result<Visited, Failure> {
    let Visit { dead_queue, began, decide } = visit;
    let failed = |error| operator.failure(&error);
    let (queue, exchange) = (operator.topology.queue(&dead_queue.queue()), operator.topology.exchange());
    let is_ours = operator.lock(&queue).await.map_err(failed)?;
    if !is_ours || !operator.is_left_alone(&queue).await.map_err(failed)? {
        let told = "another tool has the letters in its hands; run this again when it is done";
        return Err(Failure::new(Exit::Unavailable, told.to_owned()));
    }
    let Some(seen) = operator.look(&queue).await.map_err(failed)? else {
        let told = format!(
            "there is no queue {} on the broker at {}; start a dispatcher, which makes it, or correct queue.prefix",
            queue.as_str(),
            operator.address
        );
        return Err(Failure::new(Exit::Unavailable, told));
    };
    if seen.messages == 0 {
        return Ok(Visited::default());
    }
    let mut step = |mut delivery| {
        let letter = wire::letter(dead_queue, &mut delivery);
        match decide(&letter) {
            // To the end all the same: what is given back goes behind what was given back earlier, so only a whole pass
            // keeps the order.
            Action::Keep | Action::End => Step::Keep,
            Action::Discard => Step::Drop,
            Action::Replay => Step::Move(exchange.clone(), revive(letter.message, began)),
        }
    };
    let shovel = Shovel::new(operator, &queue, true).await.map_err(failed)?;
    let carried = shovel.run(seen.messages, &mut step).await.map_err(failed)?;
    Ok(Visited { replayed: carried.moved, discarded: carried.dropped })
}
