//! The `webhook` app: an app in any language. It is asked over HTTP in its phases, and does what it answers.

use shared::config::apps::Phase;

use super::{
    App, Claim, Context, DeliveryReport, Draft, Filter, Outgoing, Step,
    hook::{
        Hook,
        answer::{Changed, Claimed, Cleaned, Filtered, Parsed, read},
        request::Request,
    },
};

pub(super) struct Webhook(pub(super) Hook);

impl Webhook {
    /// Asks in `phase`, and tells whether the message is claimed.
    fn claim<'a>(&'a self, phase: Phase, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        if !self.0.is_called_in(phase) {
            return Step::ready(Claim::Passed);
        }
        Step::later(async move {
            let answer: Claimed = self.0.call(Request::incoming(phase, context), read).await?;
            let claim = if answer.is_handled() { Claim::Handled } else { Claim::Passed };
            answer.messages.send(context);
            Ok(claim)
        })
    }
}

impl App for Webhook {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        self.0.is_called_in(phase)
    }

    fn filter<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Filter> {
        if !self.0.is_called_in(Phase::Filter) {
            return Step::ready(Filter::Pass);
        }
        Step::later(async move {
            let answer: Filtered = self.0.call(Request::incoming(Phase::Filter, context), read).await?;
            answer.messages.send(context);
            Ok(if answer.stop { Filter::Stop } else { Filter::Pass })
        })
    }

    fn parse<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        if !self.0.is_called_in(Phase::Parse) {
            return Step::ready(());
        }
        Step::later(async move {
            let answer: Parsed = self.0.call(Request::incoming(Phase::Parse, context), read).await?;
            if let Some(text) = answer.text {
                context.message.text = text;
            }
            context.message.fields.extend(answer.fields);
            answer.messages.send(context);
            Ok(())
        })
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        self.claim(Phase::Handle, context)
    }

    fn default<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        self.claim(Phase::Default, context)
    }

    fn cleanup<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        if !self.0.is_called_in(Phase::Cleanup) {
            return Step::ready(());
        }
        Step::later(async move {
            let answer: Cleaned = self.0.call(Request::incoming(Phase::Cleanup, context), read).await?;
            answer.messages.send(context);
            Ok(())
        })
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        if !self.0.is_called_in(Phase::Outgoing) {
            return Step::ready(Outgoing::Send);
        }
        Step::later(async move {
            let answer: Changed = self.0.call(Request::outgoing(draft), read).await?;
            if let Some(text) = answer.text {
                draft.set_text(text);
            }
            Ok(if answer.cancel { Outgoing::Cancel } else { Outgoing::Send })
        })
    }

    fn report<'a>(&'a self, report: &'a DeliveryReport) -> Step<'a, ()> {
        self.0.tell(report)
    }
}
