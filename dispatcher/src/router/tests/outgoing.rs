//! The phase `outgoing`: whose ids stay the same whatever an app does, how long it has, and what it is told.

use super::*;

/// Takes those who opted out from what is sent: to one, to 201, to one.
struct OptOut(&'static [&'static str]);

impl App for OptOut {
    fn name(&self) -> &'static str {
        "opt-out"
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        let everybody = (0..201).map(|number| number.to_string().into()).collect();
        context.respond("first");
        context.send(context.message.backend.clone(), everybody, "news");
        context.respond("last");
        Step::ready(Claim::Handled)
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        draft.retain(|identity| !self.0.contains(&identity.as_str()));
        Step::ready(Outgoing::Send)
    }
}

/// What is sent has its id by what it was made as, not by what others have become.
#[tokio::test]
async fn who_is_taken_out_changes_no_id_and_a_message_to_nobody_is_cancelled() {
    let sent = async |out| {
        let router = Router::new(vec![Box::new(OptOut(out))], &config(""));
        let replies = router.route(incoming("x"), 1).await.unwrap().replies;
        let position = |id| (0..9).find(|position| incoming("").id.response(*position) == id).unwrap();
        replies
            .into_iter()
            .map(|reply| (position(reply.id), reply.text, reply.identities.len()))
            .collect::<Vec<_>>()
    };
    let reply = |position, text: &str, count| (position, text.to_owned(), count);
    let (first, last) = (reply(0, "first", 1), reply(3, "last", 1));
    let (many, one) = (reply(1, "news", 200), reply(2, "news", 1));
    assert_eq!(sent(&[]).await, [first.clone(), many.clone(), one, last.clone()]);
    assert_eq!(sent(&["7", "200"]).await, [first, reply(1, "news", 199), last]);
    assert_eq!(sent(&["1112223333"]).await, [many, reply(2, "news", 1)]);
}

/// Answers three times, late, and lets nothing out, a while after it is asked.
struct Slow;

impl App for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        Step::later(async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            (0..3).for_each(|_| context.respond("not to be sent"));
            Ok(Claim::Handled)
        })
    }

    fn outgoing<'a>(&'a self, _draft: &'a mut Draft) -> Step<'a, Outgoing> {
        Step::later(async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            Ok(Outgoing::Cancel)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_slow_app_before_nor_other_replies_take_the_time_for_outgoing_away() {
    let router = Router::new(vec![Box::new(Slow)], &config(""));
    let begun = Instant::now();
    assert!(router.route(incoming("x"), 1).await.unwrap().replies.is_empty());
    assert_eq!(begun.elapsed().as_secs(), 58);
}

/// Notes what it is told of what is sent.
struct Witness(Arc<Mutex<Vec<Told>>>);

type Told = (MessageId, Option<MessageId>, BTreeMap<String, String>);

impl App for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn cleanup<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        context.respond("x");
        context.message.fields.insert("language".to_owned(), "sw".to_owned());
        Step::ready(())
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        self.0.lock().unwrap().push((draft.id(), draft.in_response_to(), draft.fields().clone()));
        Step::ready(Outgoing::Send)
    }
}

#[tokio::test]
async fn outgoing_knows_what_is_answered_and_its_fields() {
    let seen = Arc::<Mutex<Vec<Told>>>::default();
    let router = Router::new(vec![Box::new(Witness(Arc::clone(&seen)))], &config(""));
    router.route(incoming("x"), 1).await.unwrap();
    router.submit(submitted(1)).await;
    let (answered, asked) = (incoming("").id, submitted(1).id);
    let fields = [("external_id", "9"), ("language", "sw")].map(|(name, value)| (name.into(), value.into()));
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], (answered.response(0), Some(answered), fields.into()));
    assert_eq!(seen[1], (asked, None, submitted(1).fields));
}
