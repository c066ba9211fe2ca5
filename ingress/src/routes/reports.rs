//! Makes messages for the queue of the delivery reports of one request.

use shared::{
    clock,
    message::BackendName,
    queue::{Message, Route, traced},
    report::{Report, Reported},
};

/// Each report, in the trace of the request.
pub(super) fn queued(backend: &BackendName, reports: Vec<Reported>, traceparent: &str) -> Vec<Message> {
    let (route, now) = (Route::Report(backend.clone()), clock::now());
    let queued = |reported| {
        Message::new(&route, &Report::of_provider(backend.clone(), reported, now), traced(Some(traceparent)))
    };
    reports.into_iter().map(queued).collect()
}
