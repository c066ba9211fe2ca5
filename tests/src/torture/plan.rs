//! What is done to the gateway, drawn by a seeded generator: the same seed draws the same actions.

use std::time::Duration;

use fastrand::Rng;

/// The providers, which are also the backends.
pub(super) const PROVIDERS: usize = 3;

/// One of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An ingress; in the standalone the gateway.
    Ingress(usize),
    /// A dispatcher.
    Dispatcher(usize),
}

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// Between the broker and every ingress.
    Ingress,
    /// Between the broker and every dispatcher.
    Dispatchers,
}

/// What a provider says to everybody for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 429 with `Retry-After: 1`.
    TooMany,
    /// 503.
    Away,
}

/// Something bad, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Kill(Target, Duration),
    KillAllDispatchers(Duration),
    Terminate(Target, Duration),
    Freeze(Target, Duration),
    KillBroker(Duration),
    StopBroker(Duration),
    FreezeBroker(Duration),
    Alarm(Duration),
    Cut(Network),
    Stall(Network, Duration),
    Refuse(usize, Refusal, Duration),
    ClosePort(usize, Duration),
}

impl Action {
    /// The line of the table in which it is counted.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill(Target::Ingress(_), _) => "ingress killed",
            Self::Kill(Target::Dispatcher(_), _) => "dispatcher killed",
            Self::KillAllDispatchers(_) => "all dispatchers killed",
            Self::Terminate(Target::Ingress(_), _) => "ingress terminated",
            Self::Terminate(Target::Dispatcher(_), _) => "dispatcher terminated",
            Self::Freeze(Target::Ingress(_), _) => "ingress frozen",
            Self::Freeze(Target::Dispatcher(_), _) => "dispatcher frozen",
            Self::KillBroker(_) => "broker killed",
            Self::StopBroker(_) => "broker stopped",
            Self::FreezeBroker(_) => "broker frozen",
            Self::Alarm(_) => "broker short of memory",
            Self::Cut(_) => "connections cut",
            Self::Stall(..) => "connections stalled",
            Self::Refuse(..) => "provider refused all",
            Self::ClosePort(..) => "provider's port closed",
        }
    }
}

/// What can be drawn, each as often as its weight says.
pub(super) struct Plan {
    ingress: usize,
    dispatchers: usize,
    kinds: Vec<(u32, Kind)>,
}

#[derive(Clone, Copy)]
enum Kind {
    KillIngress,
    KillDispatcher,
    KillAllDispatchers,
    TerminateIngress,
    TerminateDispatcher,
    FreezeIngress,
    FreezeDispatcher,
    KillBroker,
    StopBroker,
    FreezeBroker,
    Alarm,
    CutIngress,
    CutDispatchers,
    StallIngress,
    StallDispatchers,
    Refuse,
    ClosePort,
}

impl Plan {
    /// For so many processes on RabbitMQ.
    pub(super) fn pair(ingress: usize, dispatchers: usize) -> Self {
        let kinds = vec![
            (9, Kind::KillIngress),
            (12, Kind::KillDispatcher),
            (4, Kind::KillAllDispatchers),
            (6, Kind::TerminateIngress),
            (8, Kind::TerminateDispatcher),
            (5, Kind::FreezeIngress),
            (8, Kind::FreezeDispatcher),
            (7, Kind::KillBroker),
            (2, Kind::StopBroker),
            (4, Kind::FreezeBroker),
            (4, Kind::Alarm),
            (5, Kind::CutIngress),
            (8, Kind::CutDispatchers),
            (5, Kind::StallIngress),
            (6, Kind::StallDispatchers),
            (5, Kind::Refuse),
            (5, Kind::ClosePort),
        ];
        Self { ingress, dispatchers, kinds }
    }

    /// For the one process on the embedded queue.
    pub(super) fn standalone() -> Self {
        let kinds = vec![
            (10, Kind::KillIngress),
            (5, Kind::TerminateIngress),
            (3, Kind::FreezeIngress),
            (3, Kind::Refuse),
            (3, Kind::ClosePort),
        ];
        Self { ingress: 1, dispatchers: 0, kinds }
    }

    /// Without all that may make a message be sent twice: what kills who sends, or parts it from the queue.
    pub(super) fn gently(mut self) -> Self {
        self.kinds.retain(|(_, kind)| match kind {
            Kind::KillIngress => self.dispatchers > 0,
            Kind::TerminateIngress | Kind::TerminateDispatcher | Kind::Refuse | Kind::ClosePort => true,
            Kind::KillDispatcher
            | Kind::KillAllDispatchers
            | Kind::FreezeIngress
            | Kind::FreezeDispatcher
            | Kind::KillBroker
            | Kind::StopBroker
            | Kind::FreezeBroker
            | Kind::Alarm
            | Kind::CutIngress
            | Kind::CutDispatchers
            | Kind::StallIngress
            | Kind::StallDispatchers => false,
        });
        self
    }

    /// How long nothing is begun.
    pub(super) fn pause(rng: &mut Rng) -> Duration {
        Duration::from_millis(rng.u64(500..3_000))
    }

    /// The next action. Everything is drawn, whatever the kind: the actions do not depend on what becomes of them.
    pub(super) fn draw(&self, rng: &mut Rng) -> Action {
        let kind = self.kind(rng);
        let ingress = Target::Ingress(rng.usize(0..self.ingress));
        let dispatcher = Target::Dispatcher(rng.usize(0..self.dispatchers.max(1)));
        let down = Duration::from_millis(rng.u64(0..3_000));
        // Most pauses are short; some outlast two heartbeats, so that the other side gives the connection up.
        let long = rng.u8(0..4) == 0;
        let frozen =
            Duration::from_millis(if long { rng.u64(20_000..26_000) } else { rng.u64(1_000..8_000) });
        let stalled = Duration::from_millis(rng.u64(1_000..25_000).min(rng.u64(1_000..25_000)));
        let provider = rng.usize(0..PROVIDERS);
        let refusal = if rng.bool() { Refusal::TooMany } else { Refusal::Away };
        match kind {
            Kind::KillIngress => Action::Kill(ingress, down),
            Kind::KillDispatcher => Action::Kill(dispatcher, down),
            Kind::KillAllDispatchers => Action::KillAllDispatchers(down),
            Kind::TerminateIngress => Action::Terminate(ingress, down),
            Kind::TerminateDispatcher => Action::Terminate(dispatcher, down),
            Kind::FreezeIngress => Action::Freeze(ingress, frozen),
            Kind::FreezeDispatcher => Action::Freeze(dispatcher, frozen),
            Kind::KillBroker => Action::KillBroker(down),
            Kind::StopBroker => Action::StopBroker(down),
            Kind::FreezeBroker => Action::FreezeBroker(frozen),
            Kind::Alarm => Action::Alarm(down),
            Kind::CutIngress => Action::Cut(Network::Ingress),
            Kind::CutDispatchers => Action::Cut(Network::Dispatchers),
            Kind::StallIngress => Action::Stall(Network::Ingress, stalled),
            Kind::StallDispatchers => Action::Stall(Network::Dispatchers, stalled),
            Kind::Refuse => Action::Refuse(provider, refusal, down),
            Kind::ClosePort => Action::ClosePort(provider, down),
        }
    }

    fn kind(&self, rng: &mut Rng) -> Kind {
        let mut ticket = rng.u32(0..self.kinds.iter().map(|(weight, _)| weight).sum());
        for (weight, kind) in &self.kinds {
            match ticket.checked_sub(*weight) {
                Some(rest) => ticket = rest,
                None => return *kind,
            }
        }
        Kind::KillIngress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> Vec<Action> {
        let (plan, mut rng) = (Plan::pair(2, 3), Rng::with_seed(seed));
        (0..500).map(|_| plan.draw(&mut rng)).collect()
    }

    #[test]
    fn a_seed_draws_the_same_actions_again_and_another_draws_others() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn everything_is_drawn() {
        let names: std::collections::BTreeSet<_> = drawn(7).into_iter().map(Action::name).collect();
        assert_eq!(names.len(), 15, "{names:?}");
    }
}
