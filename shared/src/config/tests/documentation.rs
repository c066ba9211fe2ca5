//! The pages of `docs`: their examples are valid, and no key is missing in them.

use std::collections::BTreeSet;

use super::*;

const README: &str = include_str!("../../../../README.md");
const CONFIGURATION: &str = include_str!("../../../../docs/configuration.md");
const ADDING: &str = include_str!("../../../../docs/adding-a-backend.md");
const KANNEL: &str = include_str!("../../../../docs/backends/kannel.md");
const TWILIO: &str = include_str!("../../../../docs/backends/twilio.md");
const VUMI: &str = include_str!("../../../../docs/backends/vumi.md");
const REPORTS: &str = include_str!("../../../../docs/delivery-reports.md");
const APPS: &str = include_str!("../../../../docs/writing-an-app.md");
const MIGRATING: &str = include_str!("../../../../docs/migrating-from-rapidsms.md");
const SAMPLE: &str = include_str!("../../../../gateway.toml");

/// A name that is near to no other, so that what is told of it is the list of those that are known.
const UNKNOWN: &str = "zzzzzzzz";

/// The configurations in a page.
fn examples(page: &str) -> impl Iterator<Item = &str> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// What the variables in `text` are set to.
fn environment(text: &str) -> BTreeMap<String, String> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    names.map(|name| (name.to_owned(), "x".to_owned())).collect()
}

/// Parses an example, with a queue and with the backends of its endpoints where it shows only a part.
fn parse_example(example: &str) -> Config {
    let mut text = example.to_owned();
    for line in example.lines() {
        let name = line.strip_prefix("backend").and_then(|rest| rest.split('"').nth(1));
        if let Some(name) = name.filter(|name| !text.contains(&format!("[backends.{name}]"))) {
            let backend = format!("\n[backends.{name}]\nengine = 'httptester'\n");
            text += &backend;
        }
    }
    if !text.contains("[queue]") {
        text += "\n[queue]\nurl = 'embedded:x.db'\n";
    }
    Config::parse("page", &text, &environment(&text)).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

#[test]
fn the_examples_of_the_pages_are_valid() {
    for (page, count) in [(README, 2), (ADDING, 5), (REPORTS, 2), (APPS, 1), (MIGRATING, 2)] {
        assert_eq!(examples(page).map(parse_example).count(), count, "{page}");
    }
}

#[test]
fn every_page_of_a_provider_has_examples_which_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/backends");
    for page in std::fs::read_dir(folder).unwrap().map(|page| page.unwrap().path()) {
        let text = std::fs::read_to_string(&page).unwrap();
        let examples = examples(&text).map(parse_example).count();
        assert_eq!(examples == 0, page.ends_with("README.md"), "{}", page.display());
    }
}

#[test]
fn what_the_sample_has_behind_a_comment_is_valid() {
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        // A line of prose has no key and no table at its start.
        Some(rest) if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    let text = SAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    let text = text.replace("${SURVEY_TOKEN_HASH}", &"0".repeat(64));
    let config = parse_example(&text);
    assert_eq!((config.backends.len(), config.endpoints.len(), config.apps.len()), (5, 5, 7));
}

fn is_key(text: &str) -> bool {
    !text.starts_with(' ') && text.trim_end().chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn the_page_for_projects_of_rapidsms_has_a_whole_configuration() {
    let config = examples(MIGRATING).next().map(parse_example).unwrap();
    assert_eq!(config.project_name, "Clinic");
    let paths: Vec<_> = config.endpoints.iter().map(|endpoint| endpoint.paths.join(" ")).collect();
    assert_eq!(paths, ["/backends/kannel-fake-smsc /backend/kannel-fake-smsc", "/backend/twilio"]);
    assert_eq!((config.backends.len(), config.apps.len()), (2, 4));
}

/// What is known in place of [`UNKNOWN`] in `text`, which may have other problems.
fn known(text: &str) -> Vec<String> {
    let text = if text.starts_with("[queue]") { text.to_owned() } else { format!("{MINIMAL}{text}") };
    let Err(problems) = parse(&text) else { panic!("no problem in {text}") };
    let told = problems.0.iter().map(ToString::to_string).find(|problem| problem.contains(UNKNOWN));
    let told = told.unwrap_or_else(|| panic!("{problems}"));
    let (_, list) = told.split_once("; known: ").unwrap_or_else(|| panic!("{told}"));
    list.split(", ").map(str::to_owned).collect()
}

/// The words in the code of a page.
fn words(page: &str) -> BTreeSet<&str> {
    let code = page.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')).collect()
}

#[track_caller]
fn all_are_in(pages: &[&str], names: &[String]) {
    let words: BTreeSet<&str> = pages.iter().flat_map(|page| words(page)).collect();
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in the pages: {missing:?}");
}

#[test]
fn every_key_is_in_the_pages() {
    for table in [
        "[queue]",
        "[ingress]",
        "[dispatcher]",
        "[logging]",
        "[api]",
        "[[api.tokens]]",
        "[endpoints.fields.x]",
        "[endpoints.auth]",
        "[endpoints.auth.basic]",
        "[endpoints.auth.token]",
        "[endpoints.auth.hmac]",
        "[endpoints.auth.twilio]",
        "[endpoints.answer]",
        "[[reports]]",
        "[reports.params]",
    ] {
        let endpoint = if table.contains("endpoints.") { "[[endpoints]]\nbackend = 'b'\n" } else { "" };
        let endpoint = if table == "[reports.params]" { "[[reports]]\nbackend = 'b'\n" } else { endpoint };
        let text = format!("{endpoint}{table}\n{UNKNOWN} = 1");
        all_are_in(&[CONFIGURATION, REPORTS], &known(&text));
    }
    all_are_in(&[CONFIGURATION], &known(&format!("[{UNKNOWN}]")));
}

#[test]
fn every_engine_form_and_app_is_in_the_pages_with_its_keys() {
    let engines = known(&format!("[backends.x]\nengine = '{UNKNOWN}'"));
    all_are_in(&[CONFIGURATION], &engines);
    for engine in engines {
        let keys = known(&format!("[backends.x]\nengine = '{engine}'\n{UNKNOWN} = 1"));
        all_are_in(&[CONFIGURATION, ADDING, KANNEL, TWILIO, VUMI], &keys);
    }
    let forms = known(&format!("[[endpoints]]\nbackend = 'b'\nform = '{UNKNOWN}'"));
    all_are_in(&[CONFIGURATION], &forms);
    for form in forms {
        all_are_in(
            &[CONFIGURATION],
            &known(&format!("[[endpoints]]\nbackend = 'b'\nform = '{form}'\n{UNKNOWN} = 1")),
        );
    }
    let apps = known(&format!("[[apps]]\napp = '{UNKNOWN}'"));
    all_are_in(&[CONFIGURATION], &apps);
    for app in apps {
        all_are_in(&[CONFIGURATION], &known(&format!("[[apps]]\napp = '{app}'\n{UNKNOWN} = 1")));
    }
}
