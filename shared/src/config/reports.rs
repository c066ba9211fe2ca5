//! `[[reports]]`: where the providers' delivery reports come in, one path a backend, and how they are read.
//!
//! A backend that has its provider report (`delivery_report_url`, `status_callback`) has one without being told.

mod known;

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use url::Url;

use super::{
    Backend, Endpoint, Engine, Ingress,
    auth::{self, Auth, Credentials},
    backends::HttpUrl,
    endpoints::{self, Form, FormKind, Taken},
    problem::Origin,
    reader::{Entry, Read, Section, one_of},
};
use crate::{message::BackendName, report::State};

/// How the reports of one backend come in.
#[derive(Clone, Debug)]
pub struct Reports {
    /// The path, without its trailing slash.
    pub path: String,
    /// Who may report.
    pub auth: Auth,
    /// How a request is taken apart, and answered.
    pub form: Form,
    /// Where a report stands in it.
    pub places: Places,
    /// What the provider's words for a state mean.
    pub states: Vec<(String, State)>,
}

/// Where the parts of a report stand: parameters, or pointers into a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The array that has an object for each report; then all others are looked for in there.
    pub each: Option<String>,
    /// Our own name of the part, as the engine gave it to the provider.
    pub reference: Option<String>,
    /// The provider's name of the part.
    pub external_id: Option<String>,
    /// The state: the first of these that is there.
    pub state: Vec<String>,
    /// The number.
    pub identity: Option<String>,
    /// What else is said.
    pub detail: Option<String>,
}

impl Places {
    /// Whether some of them are looked for in a JSON document.
    #[must_use]
    pub fn are_in_json(&self) -> bool {
        self.each.is_some() || self.all().any(|place| place.starts_with('/'))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let one = [&self.reference, &self.external_id, &self.identity, &self.detail];
        one.into_iter().flatten().chain(&self.state).map(String::as_str)
    }
}

impl Reports {
    /// The URL that a provider is told to report to, who reaches the gateway at `base`. It has what `auth` wants.
    #[must_use]
    pub fn callback(&self, base: &HttpUrl) -> Url {
        let mut url = base.join(&format!("{}/", self.path.trim_start_matches('/'))).get().clone();
        match &self.auth.credentials {
            Credentials::Basic(basic) => {
                // Fails for URLs without a host only.
                url.set_username(&basic.user).ok();
                url.set_password(Some(basic.password.expose_secret())).ok();
            }
            Credentials::Parameter { name, value } => {
                url.query_pairs_mut().append_pair(name, value.expose_secret());
            }
            Credentials::None
            | Credentials::Header { .. }
            | Credentials::Hmac(_)
            | Credentials::Twilio(_) => {}
        }
        url
    }
}

/// What reports are read beside.
pub(super) struct Around<'c> {
    pub(super) backends: &'c BTreeMap<BackendName, Option<Backend>>,
    pub(super) endpoints: &'c [Endpoint],
    pub(super) ingress: Option<&'c Ingress>,
}

/// Reads all reports, and adds those of the backends that ask for them. What is wrong with these is told by `problem_of`.
pub(super) fn read(
    sections: Vec<Section<'_>>,
    around: &Around<'_>,
    taken: &mut Taken,
    problem_of: &dyn Fn(&BackendName, String),
) -> BTreeMap<BackendName, Reports> {
    let mut written: BTreeMap<BackendName, Origin> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for mut section in sections {
        let backend =
            section.required_with("backend", |entry| endpoints::read_backend(&entry, around.backends));
        if let Some(backend) = &backend {
            if let Some(earlier) = written.get(backend) {
                section.problem_here(format!("the reports of `{backend}` are at {earlier} already"));
            }
            written.entry(backend.clone()).or_insert_with(|| section.origin().clone());
        }
        let reports = read_one(section, backend.as_ref(), around, taken);
        all.extend(backend.zip(reports));
    }
    for (name, backend) in around.backends {
        let Some(Backend { engine, .. }) = backend else { continue };
        let (asked, is_written) = (callback_of(engine), written.contains_key(name));
        if let (Some((_, form)), false) = (&asked, is_written) {
            match implied(name, form, around, taken) {
                Ok(reports) => drop(all.insert(name.clone(), reports)),
                Err(problem) => problem_of(name, problem),
            }
        }
        let Some(reports) = all.get(name) else { continue };
        let mistold = asked.and_then(|asked| mistold(asked, reports, around, is_written));
        let problem = mistold.or_else(|| unmatchable(engine, &reports.places));
        if let Some(problem) = problem {
            problem_of(name, problem);
        }
    }
    all
}

/// Where the provider is told to report to, if it is told, and how it does.
fn callback_of(engine: &Engine) -> Option<(&HttpUrl, Form)> {
    match engine {
        Engine::Kannel(kannel) => kannel.delivery_report_url.as_ref().map(|base| (base, Form::Kannel)),
        Engine::Twilio(twilio) => twilio.status_callback.as_ref().map(|base| (base, Form::Twilio)),
        Engine::Http(_) | Engine::HttpTester { .. } | Engine::Vumi(_) => None,
    }
}

/// Why the provider, told to report to `base` in its own `form`, cannot.
fn mistold(
    (base, form): (&HttpUrl, Form),
    reports: &Reports,
    around: &Around<'_>,
    is_written: bool,
) -> Option<String> {
    let credentials = &reports.auth.credentials;
    let is_open = matches!(credentials, Credentials::None) && reports.auth.allow_ips.is_empty();
    let reference = known::of(&form).and_then(|(places, _)| places.reference);
    let told = if is_open && !is_written && around.is_public() {
        "`auth` is missing for its delivery reports, and `ingress.listen` is not loopback: anybody could report; write \
         [[reports]] with this backend and its auth"
    } else if reports.places.reference != reference || reports.form.kind() != form.kind() {
        "its provider is told to report in a way of its own; leave `form` and `params.reference` out of its [[reports]]"
    } else if matches!(credentials, Credentials::Header { .. } | Credentials::Hmac(_)) {
        "its provider cannot send this with a report; write `basic` or `token = { parameter, value }` in [[reports]]"
    } else if matches!(credentials, Credentials::Twilio(twilio) if !twilio.is_at(base.get())) {
        "Twilio signs the URL that it calls: `status_callback` and `public_url` are wanted alike"
    } else {
        return None;
    };
    Some(told.to_owned())
}

/// Why no report can find the part that it is about.
fn unmatchable(engine: &Engine, places: &Places) -> Option<String> {
    let Engine::Http(http) = engine else { return None };
    let has_reference = places.reference.is_some() && http.names("reference");
    let has_external_id = places.external_id.is_some() && http.answers.message_id.is_some();
    (!has_reference && !has_external_id).then(|| {
        "its delivery reports can never be matched: write `{reference}` in what is sent, and `params.reference`, or \
         `message_id`, and `params.external_id`"
            .to_owned()
    })
}

fn default_path(backend: &BackendName) -> String {
    format!("/backends/{backend}/report")
}

/// The reports of a backend that asks for them and says no more.
fn implied(name: &BackendName, form: &Form, around: &Around<'_>, taken: &Taken) -> Result<Reports, String> {
    let path = default_path(name);
    if let Some(place) = taken.get(&path) {
        return Err(format!(
            "its delivery reports have no path: `{path}/` is taken by the endpoint at {place}; write [[reports]] with another"
        ));
    }
    let auth = around.auth_of(name).cloned().unwrap_or_default();
    let (places, states) = known::of(form).unwrap_or_default();
    Ok(Reports { path, auth, form: form.clone(), places, states })
}

/// How the provider of an engine reports by itself.
fn form_of(engine: &Engine) -> Option<Form> {
    match engine {
        Engine::Kannel(_) => Some(Form::Kannel),
        Engine::Twilio(_) => Some(Form::Twilio),
        Engine::Vumi(_) => Some(Form::Vumi),
        Engine::Http(_) | Engine::HttpTester { .. } => None,
    }
}

impl Around<'_> {
    /// Who may post the messages of a backend may report, unless something else is written.
    fn auth_of(&self, backend: &BackendName) -> Option<&Auth> {
        self.endpoints.iter().find(|endpoint| endpoint.backend == *backend).map(|endpoint| &endpoint.auth)
    }

    fn is_public(&self) -> bool {
        self.ingress.is_some_and(|ingress| !ingress.listen.ip().is_loopback())
    }
}

fn read_one(
    mut section: Section<'_>,
    backend: Option<&BackendName>,
    around: &Around<'_>,
    taken: &mut Taken,
) -> Option<Reports> {
    let written = section.optional_with("path", |entry| Some((endpoints::read_path(&entry)?, entry)));
    let path = written.as_ref().map(|(path, _)| path.clone()).or_else(|| backend.map(default_path));
    if let Some(path) = &path {
        endpoints::take(
            &section,
            std::slice::from_ref(path),
            written.as_ref().map(|(_, entry)| entry),
            taken,
        );
    }
    let auth_origin = section.origin_of("auth");
    let inherited = backend.and_then(|backend| around.auth_of(backend)).cloned();
    if around.is_public() && inherited.is_none() && !section.has("auth") {
        section.problem_here(
            "`auth` is missing, and so is an endpoint of this backend to have it from, and `ingress.listen` is not loopback: \
             anybody could report; write it, or auth = \"none\" if that is meant",
        );
    }
    let auth = section.optional_with("auth", auth::read).or(inherited).unwrap_or_default();
    let default = backend.and_then(|backend| form_of(&around.backends.get(backend)?.as_ref()?.engine));
    let kind = default.as_ref().map_or(FormKind::Http, Form::kind);
    let form = endpoints::read_form(&mut section, kind)?;
    if let Some(problem) = endpoints::misfit(&auth, &form, path.as_slice()) {
        section.problem_at(&auth_origin, "auth", problem);
    }
    let (places, states) = read_places(&mut section, &form);
    if let Credentials::Parameter { name, .. } = &auth.credentials
        && places.all().any(|place| place == name)
    {
        section.problem_at(&auth_origin, "auth", format!("the token's `{name}` is one of `params` already"));
    }
    section.finish();
    Some(Reports { path: path?, auth, form, places, states })
}

fn read_places(section: &mut Section<'_>, form: &Form) -> (Places, Vec<(String, State)>) {
    let known = known::of(form);
    let is_known = known.is_some();
    let (mut places, mut states) = known.unwrap_or_default();
    let origin = section.origin_of("params");
    let params = section.section("params");
    if let Some(mut params) = params {
        let mut place = |key, place: &mut Option<String>| {
            *place = params.optional(key).or_else(|| place.take());
        };
        place("reference", &mut places.reference);
        place("external_id", &mut places.external_id);
        place("identity", &mut places.identity);
        place("detail", &mut places.detail);
        places.state = params.optional("state").map_or(places.state, |state| vec![state]);
        params.finish();
    }
    places.each = section.optional("each");
    let words: Vec<(String, StateName)> = section.or("states", Vec::new());
    let words = words.into_iter().map(|(word, StateName(state))| (word, state));
    // What is written goes before what is known.
    states = words.chain(states).collect();
    for problem in problems(form, &places, &states, is_known) {
        section.problem_at(&origin, "params", problem);
    }
    (places, states)
}

/// Why no report could be read.
fn problems(form: &Form, places: &Places, states: &[(String, State)], is_known: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if places.state.is_empty() {
        problems.push("`state` is missing: where the request says how far the part is".to_owned());
    }
    if places.reference.is_none() && places.external_id.is_none() {
        problems.push("`reference` or `external_id` is missing: which part it is about".to_owned());
    }
    if states.is_empty() && !is_known {
        problems.push(
            r#"`states` is missing: what the provider's words mean, { DELIVRD = "delivered" }"#.to_owned(),
        );
    }
    if places.each.as_deref().is_some_and(|each| !each.starts_with('/')) {
        problems.push("`each` is a JSON pointer to an array, such as \"/results\"".to_owned());
    }
    if places.each.is_some() && places.all().any(|place| !place.starts_with('/')) {
        problems.push("with `each`, all are JSON pointers, such as \"/messageId\"".to_owned());
    }
    let twice = states.iter().enumerate().find(|(at, (word, state))| {
        let earlier = states[..*at].iter();
        // What is written may say something else than what is known.
        !is_known && earlier.clone().any(|(other, known)| other.eq_ignore_ascii_case(word) && known != state)
    });
    if let Some((_, (word, _))) = twice {
        problems.push(format!("`states.{word}` means two things: words are the same in any case of letters"));
    }
    if !form.takes_json() && places.are_in_json() {
        problems.push("a JSON pointer finds nothing here: no JSON is read".to_owned());
    }
    problems
}

/// The name of a state.
struct StateName(State);

impl Read for StateName {
    fn read(entry: Entry<'_>) -> Option<Self> {
        one_of(&entry, &State::ALL.map(|state| (state.name(), state))).map(Self)
    }
}

/// Notes what is wrong with the URL to report to, written at `key` of a backend.
pub(super) fn check_base(section: &Section<'_>, origin: &Origin, key: &str, base: Option<&HttpUrl>) {
    let Some(url) = base.map(HttpUrl::get) else { return };
    if url.query().is_some() || url.path().trim_end_matches('/').ends_with("/report") {
        let message = "what stands before the path is wanted, \"https://sms.example.org\": the path of the reports is added";
        section.problem_at(origin, key, message);
    }
}
