//! Texts that are longer than a short message: split, limited, made cheaper; what the provider gets, and what it gets again.

use std::collections::BTreeSet;

use anyhow::Result;
use integration_tests::{
    Provider,
    provider::{Answer, Request},
    stack::{DEADLINE, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(
    a_long_text_arrives_in_parts_in_order,
    a_part_that_fails_is_sent_again_with_those_after_it_only,
    a_part_that_is_refused_ends_its_text_until_a_person_replays_it,
    a_text_of_too_many_parts_is_dead_lettered_unsent,
    typography_is_replaced_where_that_makes_a_text_cheaper,
);

/// 60 UTF-16 units.
const ARABIC: &str = "مرحبا بك في عيادة المدينة. موعدك القادم يوم الاثنين الساعة ٩";

/// One character to whoever sees it, and 11 units.
const FAMILY: &str = "👨\u{200d}👩\u{200d}👧\u{200d}👦";

/// A configuration whose backend `p` is `provider`, with `keys` of the backend.
fn config(provider: &Provider, keys: &str) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nform = {{ to = '{{identity}}', msg = '{{text}}' }}\n{keys}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

async fn accept(stack: &Stack, text: &str) -> Result<()> {
    stack.accept("/backends/p/", "+1112223333", &format!("echo {text}")).await
}

/// The parts of a text that takes three, each of one letter.
fn letters(letters: &[&str]) -> Vec<String> {
    letters.iter().map(|letter| letter.repeat(153)).collect()
}

fn ids(requests: &[Request]) -> Vec<&str> {
    requests.iter().filter_map(|request| request.header("idempotency-key")).collect()
}

async fn a_long_text_arrives_in_parts_in_order(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(shape, &config(&provider, "split = true"), &["p"]).await?;
    let text = format!("{ARABIC}{FAMILY}").repeat(3) + "👍";
    accept(&stack, &text).await?;
    let requests = provider.wait_for(4, DEADLINE).await?;
    let parts = provider.texts("msg");
    assert_eq!((parts.concat(), &*parts[0]), (text, ARABIC));
    assert!(parts.iter().all(|part| part.encode_utf16().count() <= 67), "{parts:?}");
    let ids: BTreeSet<&str> = ids(&requests).into_iter().collect();
    assert_eq!((ids.len(), provider.count()), (4, 4));
    stack.finish().await
}

async fn a_part_that_fails_is_sent_again_with_those_after_it_only(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(200, ""));
    provider.behave_once(Answer::new(500, ""));
    let stack = Stack::start(shape, &config(&provider, "split = true"), &["p"]).await?;
    accept(&stack, &letters(&["a", "b", "c"]).concat()).await?;
    let requests = provider.wait_for(4, DEADLINE).await?;
    assert_eq!(provider.texts("msg"), letters(&["a", "b", "b", "c"]));
    let ids = ids(&requests);
    assert_eq!(ids[1], ids[2]);
    stack.finish().await
}

async fn a_part_that_is_refused_ends_its_text_until_a_person_replays_it(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(200, ""));
    provider.behave_once(Answer::new(400, "blocked"));
    let stack = Stack::start(shape, &config(&provider, "split = true"), &["p"]).await?;
    accept(&stack, &letters(&["a", "b", "c"]).concat()).await?;
    stack.wait_dead(1).await?;
    assert_eq!(provider.texts("msg"), letters(&["a", "b"]));

    let listed = stack.tool(&["dead-letters", "list"]).await?;
    assert!(
        listed.stdout.contains("rejected") && listed.stdout.contains("status 400: blocked"),
        "{listed:?}"
    );
    let replayed = stack.tool(&["dead-letters", "replay"]).await?;
    assert_eq!(replayed.stdout, "replayed 1 dead letter\n");
    provider.wait_for(4, DEADLINE).await?;
    assert_eq!(provider.texts("msg"), letters(&["a", "b", "b", "c"]));
    stack.finish().await
}

async fn a_text_of_too_many_parts_is_dead_lettered_unsent(shape: Shape) -> Result<()> {
    for split in [true, false] {
        let provider = Provider::start()?;
        let keys = format!("max_parts = 2\nsplit = {split}");
        let stack = Stack::start(shape, &config(&provider, &keys), &["p"]).await?;
        accept(&stack, &letters(&["a", "b", "c"]).concat()).await?;
        let left = stack.wait_dead_and_stop(1).await?;
        let headers = &left["dead"][0].headers;
        assert_eq!(headers["class"], "rejected");
        assert_eq!(headers["reason"], "the text takes 3 parts, and max_parts is 2");
        assert_eq!((provider.count(), left.len()), (0, 1));
    }
    Ok(())
}

async fn typography_is_replaced_where_that_makes_a_text_cheaper(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(shape, &config(&provider, "substitute = true"), &["p"]).await?;
    for (count, text) in (1..).zip(["“It’s 5 – 6 €…”", "“ça va”"]) {
        accept(&stack, text).await?;
        provider.wait_for(count, DEADLINE).await?;
    }
    assert_eq!(provider.texts("msg"), ["\"It's 5 - 6 €...\"", "“ça va”"]);
    stack.finish().await
}
