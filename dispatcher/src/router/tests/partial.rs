//! An app is called in the phases that it takes part in, and in no other.

use super::*;

/// Takes part in one phase, and notes every one that it is called in.
struct Partial(Probe, Phase);

impl App for Partial {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        phase == self.1
    }

    fn filter<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Filter> {
        self.0.filter(context)
    }

    fn parse<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        self.0.parse(context)
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        self.0.handle(context)
    }

    fn default<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        self.0.default(context)
    }

    fn cleanup<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        self.0.cleanup(context)
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        self.0.outgoing(draft)
    }
}

#[tokio::test]
async fn an_app_is_called_in_its_phases_alone() {
    for phase in [Phase::Filter, Phase::Parse, Phase::Handle, Phase::Default, Phase::Cleanup] {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let probe = |name, acts_in| Probe { name, acts_in, seen: Arc::clone(&seen) };
        let whole = Probe { seen: Arc::default(), ..probe("W", "parse") };
        let apps: Vec<Box<dyn App>> = vec![
            Box::new(Partial(probe("A", ""), phase)),
            Box::new(whole),
            Box::new(Partial(probe("B", ""), phase)),
        ];
        let router = Router::new(apps, &config(""));
        let replies = router.route(incoming("x"), 1).await.unwrap().replies;
        assert_eq!(*seen.lock().unwrap(), [format!("A {phase}"), format!("B {phase}")]);
        assert_eq!(replies[0].text, "W in parseW", "{phase}");
    }
}
