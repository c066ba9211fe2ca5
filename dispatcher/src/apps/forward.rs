//! The `forward` app: copies every message, and every reply if it shall, to a URL. What is answered counts for nothing.

use shared::config::apps::Phase;

use super::{
    App, Context, DeliveryReport, Draft, Outgoing, Step,
    hook::{Hook, request::Request},
};

pub(super) struct Forward(pub(super) Hook);

impl App for Forward {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        self.0.is_called_in(phase)
    }

    fn parse<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        if !self.0.is_called_in(Phase::Parse) {
            return Step::ready(());
        }
        Step::later(self.0.call(Request::incoming(Phase::Parse, context), |_| Ok(())))
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        if !self.0.is_called_in(Phase::Outgoing) {
            return Step::ready(Outgoing::Send);
        }
        Step::later(async move {
            self.0.call(Request::outgoing(draft), |_| Ok(())).await?;
            Ok(Outgoing::Send)
        })
    }

    fn report<'a>(&'a self, report: &'a DeliveryReport) -> Step<'a, ()> {
        self.0.tell(report)
    }
}
