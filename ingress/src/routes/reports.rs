//! Publishes the delivery reports of one request.

use shared::{
    clock,
    queue::{Headers, Message, Route, header},
    report::{Report, Reported},
    trace,
};

use super::{Endpoint, State};
use crate::{refusal::Refusal, request::Request};

/// Returns how many reports there were, when all are in the queue.
pub(super) async fn publish(
    state: &State,
    endpoint: &Endpoint,
    reports: Vec<Reported>,
    request: &Request,
) -> Result<u64, Refusal> {
    let (count, now) = (reports.len() as u64, clock::now());
    let route = Route::Report(endpoint.backend.clone());
    let queued = reports.into_iter().map(|reported| {
        let traceparent = trace::child_of(request.header(header::TRACEPARENT));
        let headers = Headers::from([(header::TRACEPARENT.to_owned(), traceparent)]);
        Message::new(&route, &Report::of_provider(endpoint.backend.clone(), reported, now), headers)
    });
    state.publisher.publish(queued.collect()).await.map_err(Refusal::Unavailable)?;
    Ok(count)
}
