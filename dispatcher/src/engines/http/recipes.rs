//! The recipes for real gateways: the example of each page in `docs/backends` is the configuration.
//!
//! In `dispatcher/fixtures`, a folder a gateway: `TEXT.txt` is the request for a text, and each `NAME.answer`, as the
//! gateway's documentation shows or describes it, has a `NAME.verdict`.

use std::{fs, path::Path};

use shared::config::{Config, Engine as Settings};

use super::{
    super::{client::tests::answer, part::tests::message, request::tests::assert_golden},
    *,
};

/// The gateways, with a number as each of them writes it.
const GATEWAYS: [(&str, &str); 6] = [
    ("africastalking", "+254711000111"),
    ("clickatell", "2799900001"),
    ("infobip", "41793026727"),
    ("smsgate", "+79990001234"),
    ("telerivet", "+16505550123"),
    ("vonage", "447700900001"),
];

const TEXTS: [(&str, &str); 3] = [
    ("latin", "Hello [caf\u{e9}] 5\u{20ac}? 100% & \"more\"~*"),
    ("arabic", "\u{645}\u{631}\u{62d}\u{628}\u{627}"),
    ("emoji", "h\u{e9}llo \u{1f469}\u{200d}\u{1f469}"),
];

/// The backend of the page's example, in which each secret is its own name in lower case.
fn recipe(gateway: &str) -> (Blueprint, Answers) {
    let page = format!("{}/../docs/backends/{gateway}.md", env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(page).unwrap();
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let names = example.split("${").skip(1).map(|rest| rest.split('}').next().unwrap());
    let secrets = names.map(|name| (name.to_owned(), name.to_lowercase())).collect();
    let config = Config::parse(gateway, &format!("[queue]\nurl = 'embedded:x'\n{example}"), &secrets);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let (name, backend) = config.backends.iter().next().unwrap();
    let Settings::Http(http) = &backend.engine else { panic!("{gateway}") };
    (Blueprint::new(name, http), http.answers.clone())
}

/// What an answer, written as in its file, makes of the part.
fn verdict(rules: &Answers, written: &str) -> String {
    let (head, body) = written.split_once("\n\n").unwrap_or((written, ""));
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    match answer::read(rules, &answer(status, body.trim_end())) {
        Ok(receipt) => format!("sent {}\n", receipt.external_ids.join(" ")),
        Err(error) => format!("{error}\n"),
    }
}

#[test]
fn each_gateway_has_its_golden_requests() {
    for (gateway, number) in GATEWAYS {
        let (blueprint, _) = recipe(gateway);
        for (file, text) in TEXTS {
            let message = message(&[number], text);
            let request = blueprint.request(&Part::for_each_identity(&message)[0]).unwrap();
            assert_golden(&format!("{gateway}/{file}.txt"), &[request]);
        }
    }
}

#[test]
fn what_each_gateway_answers_has_its_verdict() {
    for (gateway, _) in GATEWAYS {
        let (_, rules) = recipe(gateway);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(gateway);
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let answers: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|kind| kind == "answer")).collect();
        assert!(answers.len() > 2, "{gateway}");
        for file in answers {
            let expected = fs::read_to_string(file.with_extension("verdict")).unwrap();
            assert_eq!(verdict(&rules, &fs::read_to_string(&file).unwrap()), expected, "{file:?}");
        }
    }
}
