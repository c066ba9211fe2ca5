//! Publishes the delivery reports of one request.

use shared::{
    clock,
    queue::{Message, Route, header, traced},
    report::{Report, Reported},
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
        let headers = traced(request.header(header::TRACEPARENT));
        Message::new(&route, &Report::of_provider(endpoint.backend.clone(), reported, now), headers)
    });
    state.publisher.publish_all(queued.collect()).await.map_err(Refusal::Unavailable)?;
    Ok(count)
}
