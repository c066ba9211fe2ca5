//! The golden files: requests as providers send them, the answers that they get, and the messages that are published.
//!
//! In `ingress/fixtures`, a folder a form, whose configuration is its `endpoints.toml`, and a folder a gateway, whose
//! configuration is the example of its page in `docs/backends`. Each `NAME.request` has a `NAME.answer`, and a
//! `NAME.message.json` when it is accepted. Lines end as in every text file, the last one too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::*;

/// The text of a file, without its last line break; nothing when there is no such file.
fn text(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The builder of a written request, and its body.
fn request(written: &str) -> (axum::http::request::Builder, &str) {
    let (head, body) = written.split_once("\n\n").unwrap_or((written.trim_end(), ""));
    let mut lines = head.lines();
    let [method, target, _] = lines.next().unwrap().split(' ').collect::<Vec<_>>()[..] else {
        panic!("{head}")
    };
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let request = HttpRequest::builder().method(method).uri(target);
    (headers.fold(request, |request, (name, value)| request.header(name, value)), body)
}

/// An answer as it is written in its file.
fn written(answer: &Response, body: &str) -> String {
    let content_type = answer.headers()[header::CONTENT_TYPE].to_str().unwrap();
    format!("HTTP/1.1 {}\nContent-Type: {content_type}\n\n{body}", answer.status().as_u16())
}

/// What was published, but for the time, and for an id that is made anew for each message.
fn published(queue: &Recorder) -> Option<Value> {
    let published = queue.published.lock().unwrap();
    let mut message: Value = serde_json::from_slice(&published.first()?.body).unwrap();
    let fields = message.as_object_mut().unwrap();
    fields.remove("accepted_at");
    if fields.get("fields").is_none_or(|fields| fields.get("external_id").is_none()) {
        fields.remove("id");
    }
    Some(message)
}

/// Sends each request of the `folder` to a service of its own, and compares what comes of it.
async fn check(folder: &Path, service: impl Fn() -> Service) {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let requests: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|kind| kind == "request")).collect();
    assert!(!requests.is_empty(), "{folder:?}");
    for file in requests {
        let service = service();
        let whole = text(&file).unwrap();
        let (request, body) = request(&whole);
        let (answer, body) = service.send(request, body).await;
        assert_eq!(Some(written(&answer, body.trim_end())), text(&file.with_extension("answer")), "{file:?}");
        let expected = text(&file.with_extension("message.json"));
        let expected = expected.map(|json| serde_json::from_str::<Value>(&json).unwrap());
        assert_eq!(published(&service.queue), expected, "{file:?}");
    }
}

/// The folders of the fixtures, each with the text of the file that `configuration` names for it, if there is one.
fn folders(configuration: impl Fn(&Path) -> PathBuf) -> Vec<(PathBuf, String)> {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"));
    let folders = fs::read_dir(fixtures).unwrap().map(|folder| folder.unwrap().path());
    folders.filter_map(|folder| Some((folder.clone(), text(&configuration(&folder))?))).collect()
}

fn endpoints(folder: &Path) -> PathBuf {
    folder.join("endpoints.toml")
}

#[tokio::test]
async fn every_golden_request_has_its_answer_and_its_message() {
    let forms = folders(endpoints);
    assert!(forms.len() >= 4, "{forms:?}");
    for (folder, config) in forms {
        check(&folder, || Service::with(&config, Recorder::default())).await;
    }
}

#[tokio::test]
async fn the_recipe_of_each_gateway_reads_its_requests() {
    let page = |folder: &Path| {
        let name = folder.file_name().unwrap().to_str().unwrap();
        format!("{}/../docs/backends/{name}.md", env!("CARGO_MANIFEST_DIR")).into()
    };
    let recipes: Vec<_> =
        folders(page).into_iter().filter(|(folder, _)| !endpoints(folder).exists()).collect();
    assert!(recipes.len() >= 6, "{recipes:?}");
    for (folder, page) in recipes {
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        // Each secret is its own name in the fixtures, in lower case.
        let names = example.split("${").skip(1).map(|rest| rest.split('}').next().unwrap());
        let secrets = names.map(|name| (name.to_owned(), name.to_lowercase())).collect();
        check(&folder, || Service::configured(example, &secrets, Recorder::default())).await;
    }
}
