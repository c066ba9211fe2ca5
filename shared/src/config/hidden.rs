//! A configuration without its secrets, to show the requests that are made from it.
//!
//! What is hidden is whole values, before anything is made of them: no encoding can bring one to light. Which of the values that
//! the configuration adds to a request are secret cannot be known, so all of them are hidden. Each setting of an engine is
//! named here, so that a new one is not forgotten.

use secrecy::SecretString;
use serde_json::Value;

use super::{
    App, Config, Engine,
    apps::hook::Hook,
    auth::Credentials,
    backends::{
        Basic, Http, Kannel, Twilio, Vumi,
        http::{Content, JsonTemplate},
        vumi::Params,
    },
};
use crate::template::Template;

/// What stands for a hidden value: as it is in a URL, in a form, in JSON and in a header.
pub const HIDDEN: &str = "HIDDEN";

impl Config {
    /// The same, with [`HIDDEN`] for what its engines and apps add to their requests. What requests to the gateway are
    /// compared with is left alone.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut config = self.clone();
        for backend in config.backends.values_mut() {
            match &mut backend.engine {
                Engine::HttpTester { keep: _ } => {}
                Engine::Http(http) => hide_http(http),
                Engine::Kannel(kannel) => hide_kannel(kannel),
                Engine::Twilio(twilio) => hide_twilio(twilio),
                Engine::Vumi(vumi) => hide_vumi(vumi),
            }
        }
        for reports in config.reports.values_mut() {
            hide_callback(&mut reports.auth.credentials);
        }
        for app in &mut config.apps {
            if let App::Webhook(hook) | App::Forward(hook) = app {
                hide_hook(hook);
            }
        }
        config
    }
}

fn hide_http(http: &mut Http) {
    let Http { url, method: _, content, headers, basic, answers: _ } = http;
    let mut is_first = true;
    *url = url.with_literals(|literal| {
        // Where to stands before any name.
        if std::mem::take(&mut is_first) { url_to_host(literal) } else { shape_of(literal) }
    });
    match content {
        Content::None => {}
        Content::Query(parameters) | Content::Form(parameters) => hide_templates(parameters),
        Content::Json(json) => hide_json_template(json),
    }
    hide_templates(headers);
    basic.iter_mut().for_each(hide_basic);
}

fn hide_kannel(kannel: &mut Kannel) {
    let Kannel { url, params, coding: _, charset: _, batch: _, delivery_report_url: _ } = kannel;
    *url = url.map_query(hidden_query);
    hide_secrets(params);
}

fn hide_twilio(twilio: &mut Twilio) {
    let Twilio { url, basic, sender: _, status_callback: _ } = twilio;
    *url = url.map_query(hidden_query);
    hide_basic(basic);
}

fn hide_vumi(vumi: &mut Vumi) {
    let Vumi { url, params: Params(params), basic } = vumi;
    *url = url.map_query(hidden_query);
    params.values_mut().for_each(hide_json);
    basic.iter_mut().for_each(hide_basic);
}

/// What stands in the URL that a provider is told to report to.
fn hide_callback(credentials: &mut Credentials) {
    match credentials {
        Credentials::Basic(basic) => hide_basic(basic),
        Credentials::Parameter { name: _, value } => hide(value),
        Credentials::None | Credentials::Header { .. } | Credentials::Hmac(_) | Credentials::Twilio(_) => {}
    }
}

fn hide_hook(hook: &mut Hook) {
    let Hook { url, number: _, secret, headers, timeout: _, phases: _, on_error: _ } = hook;
    *url = url.map_path(shape_of).map_query(shape_of);
    secret.iter_mut().for_each(hide);
    hide_secrets(headers);
}

fn hide(secret: &mut SecretString) {
    *secret = HIDDEN.into();
}

fn hide_secrets(named: &mut [(String, SecretString)]) {
    for (_, value) in named {
        hide(value);
    }
}

fn hide_basic(basic: &mut Basic) {
    hide(&mut basic.password);
}

fn hide_template(template: &mut Template) {
    *template = template.with_literals(|_| HIDDEN.to_owned());
}

fn hide_templates(named: &mut [(String, Template)]) {
    for (_, template) in named {
        hide_template(template);
    }
}

fn hide_json_template(json: &mut JsonTemplate) {
    match json {
        JsonTemplate::String(template) => hide_template(template),
        JsonTemplate::Plain(value) => hide_json(value),
        JsonTemplate::Array(items) => items.iter_mut().for_each(hide_json_template),
        JsonTemplate::Object(entries) => entries.iter_mut().for_each(|(_, item)| hide_json_template(item)),
    }
}

fn hide_json(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(_) | Value::String(_) => *value = HIDDEN.into(),
        Value::Array(items) => items.iter_mut().for_each(hide_json),
        Value::Object(entries) => entries.values_mut().for_each(hide_json),
    }
}

/// A query of which only the names are left; what has no name is no name.
fn hidden_query(query: &str) -> String {
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    query.split('&').map(hidden).collect::<Vec<_>>().join("&")
}

/// A URL, or the beginning of one, of which only the scheme, the host and the port are left.
fn url_to_host(url: &str) -> String {
    let separator = |from: usize| url[from..].find(is_separator).map_or(url.len(), |at| from + at);
    let scheme = separator(0);
    let host = if url[scheme..].starts_with("//") { scheme + "//".len() } else { 0 };
    let end = separator(host);
    let (scheme, peer) = url[..end].split_at(host);
    let peer = peer.rsplit_once('@').map_or_else(|| peer.to_owned(), |(_, peer)| format!("{HIDDEN}@{peer}"));
    format!("{scheme}{peer}{}", shape_of(&url[end..]))
}

/// What separates the pieces of a URL.
fn is_separator(c: char) -> bool {
    matches!(c, '/' | '\\' | '?' | '#' | '&' | '=')
}

/// A piece of a URL of which only the separators are left.
fn shape_of(text: &str) -> String {
    let mut shape = String::new();
    for piece in text.split_inclusive(is_separator) {
        let separator = piece.find(is_separator).unwrap_or(piece.len());
        if separator > 0 {
            shape.push_str(HIDDEN);
        }
        shape.push_str(&piece[separator..]);
    }
    shape
}

#[cfg(test)]
mod tests;
