//! `[[endpoints]]`: the paths that providers post to. One variant a form; its keys are read here, by both services.

mod form;

mod fields;

mod known;

use std::collections::BTreeMap;

use self::form::Source;
pub(super) use self::form::{FormKind, read as read_form};
pub use self::{
    fields::Field,
    form::{Answer, Form, HttpMethod},
};
use super::{
    Ingress,
    api::PREFIX,
    auth::{self, Auth, Credentials},
    backends::{self, Backend},
    problem::Origin,
    reader::{Entry, Read, Section},
    tree::Value,
};
use crate::message::BackendName;

/// A path, the backend it receives for, and how its requests are read.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The paths, each without its trailing slash; both spellings are answered.
    pub paths: Vec<String>,
    /// The backend that messages come through.
    pub backend: BackendName,
    /// Who may post.
    pub auth: Auth,
    /// How a request is read.
    pub form: Form,
    /// The fields of a message, `identity` and `text` first.
    pub fields: Vec<Field>,
    /// The charset of requests that do not name one.
    pub charset: &'static encoding_rs::Encoding,
}

/// The paths that are taken, and by whom.
pub(super) type Taken = BTreeMap<String, Origin>;

/// Reads all endpoints of `ingress`, which is missing when it has problems itself.
pub(super) fn read(
    sections: Vec<Section<'_>>,
    backends: &BTreeMap<BackendName, Option<Backend>>,
    ingress: Option<&Ingress>,
    taken: &mut Taken,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for section in sections {
        endpoints.extend(read_one(section, backends, ingress, taken));
    }
    endpoints
}

fn read_one(
    mut section: Section<'_>,
    backends: &BTreeMap<BackendName, Option<Backend>>,
    ingress: Option<&Ingress>,
    taken: &mut Taken,
) -> Option<Endpoint> {
    let backend = section.required_with("backend", |entry| read_backend(&entry, backends));
    let paths = read_paths(&mut section, backend.as_ref(), taken);
    let public = ingress.is_some_and(|ingress| !ingress.listen.ip().is_loopback());
    if public && !section.has("auth") {
        section.problem_here(
            "`auth` is missing, and `ingress.listen` is not loopback: anybody could post; \
             write auth = { basic = { user = \"..\", password = \"${..}\" } }, or auth = \"none\" if that is meant",
        );
    }
    let auth_origin = section.origin_of("auth");
    let auth = section.optional_with("auth", auth::read).unwrap_or_default();
    let methods_origin = section.has("methods").then(|| section.origin_of("methods"));
    // The other keys cannot be judged without knowing the form.
    let mut form = form::read(&mut section, FormKind::Http)?;
    if let Some(problem) = misfit(&auth, &form, &paths) {
        section.problem_at(&auth_origin, "auth", problem);
    }
    let charset = section.or("charset", Charset(encoding_rs::UTF_8)).0;
    let fields = fields::read(&mut section, &form, ingress);
    if let Some(field) = auth.token_parameter().and_then(|name| fields.iter().find(|it| it.parameter == name))
    {
        let told = format!("the token stands where `{}` is read; write another parameter", field.name);
        section.problem_at(&auth_origin, "auth", told);
    }
    let only_json = form.source() == Source::Both && fields.first().is_some_and(Field::is_in_json);
    if only_json
        && form.leave_out_get()
        && let Some(origin) = methods_origin
    {
        let told = "the fields are looked for in JSON, and no GET has any; leave GET out";
        section.problem_at(&origin, "methods", told);
    }
    section.finish();
    Some(Endpoint { paths, backend: backend?, auth, form, fields, charset })
}

pub(super) fn read_backend(
    entry: &Entry<'_>,
    backends: &BTreeMap<BackendName, Option<Backend>>,
) -> Option<BackendName> {
    let name = String::read(entry.clone())?;
    let known = name.parse().ok().filter(|name| backends.contains_key(name));
    known.or_else(|| {
        let near = backends::near(&name, backends);
        entry.problem(if entry.is_hidden() {
            format!("this value is the name of no backend{near}")
        } else {
            format!("there is no backend `{name}`{near}; write [backends.{name}] with its engine")
        })
    })
}

fn read_paths(section: &mut Section<'_>, backend: Option<&BackendName>, taken: &mut Taken) -> Vec<String> {
    let by_backend = !section.has("path");
    let written = section.optional_with("path", |entry| Some((read_path(&entry)?, entry)));
    let paths = match (&written, backend) {
        (Some((path, _)), _) => vec![path.clone()],
        (None, Some(backend)) if by_backend => {
            vec![format!("/backends/{backend}"), format!("/backend/{backend}")]
        }
        (None, _) => Vec::new(),
    };
    take(section, &paths, written.as_ref().map(|(_, entry)| entry), taken);
    paths
}

/// Takes `paths`, written in `entry` or made of the backend's name, or notes who has them.
pub(super) fn take(section: &Section<'_>, paths: &[String], written: Option<&Entry<'_>>, taken: &mut Taken) {
    // Both paths of a backend are taken together, which is one problem.
    if let Some((path, earlier)) = paths.iter().find_map(|path| Some((path, taken.get(path)?))) {
        let hidden = written.is_some_and(Entry::is_hidden);
        let shown = if hidden { "in this value".to_owned() } else { format!("`{path}/`") };
        let message =
            format!("the path {shown} is taken by the endpoint at {earlier}; one path has one endpoint");
        match written {
            Some(entry) => entry.note(message),
            None => section.problem_here(message),
        }
    }
    for path in paths {
        taken.entry(path.clone()).or_insert_with(|| section.origin().clone());
    }
}

/// Why no request of this form can pass.
pub(super) fn misfit(auth: &Auth, form: &Form, paths: &[String]) -> Option<String> {
    match (&auth.credentials, form) {
        (Credentials::Hmac(_) | Credentials::Twilio(_), Form::Kannel) => {
            Some("Kannel signs nothing; write `basic`, `token` or `allow_ips`".to_owned())
        }
        (Credentials::Twilio(_), Form::Vumi) => {
            Some("nobody signs these as Twilio does; write another kind".to_owned())
        }
        (Credentials::Twilio(twilio), _) => {
            let path = paths.iter().find(|path| twilio.ends_with(path))?;
            Some(format!("`public_url` is what stands before the path of the endpoint; leave `{path}` out"))
        }
        _ => None,
    }
}

/// The path without its last slash.
pub(super) fn read_path(entry: &Entry<'_>) -> Option<String> {
    let path = String::read(entry.clone())?;
    // Requests are looked up decoded, so an escape in a path would never match.
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#%".contains(&byte);
    if !path.starts_with('/') || !path.bytes().all(allowed) || path.contains("//") {
        return entry.problem("a path starts with `/` and has no space, `?`, `#`, `%` or `//`");
    }
    let path = path.strip_suffix('/').unwrap_or(&path);
    if path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return entry.problem(format!("paths from `{PREFIX}/` on are the API's; write another one"));
    }
    Some(path.to_owned())
}

struct Charset(&'static encoding_rs::Encoding);

impl Read for Charset {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let Value::String(label) = &entry.node.value else {
            return entry.problem("the name of a charset is wanted");
        };
        let known = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
        known.map(Self).or_else(|| {
            let shown = entry.shown(label);
            entry.problem(format!("{shown} is no charset; write utf-8, iso-8859-1, utf-16be ..."))
        })
    }
}
