//! Reads the delivery reports of one backend: a table of where each part of a report stands, and what the words for a
//! state mean. One reader for all providers.

use axum::http::Method;
use shared::{
    config::{Config, Reports, endpoints, reports::Places},
    report::{Reported, State},
};

use super::{Answer, fields::clean, method, params::Params};
use crate::{refusal::Problem, request::Request};

/// The most reports in one request.
const MAX_REPORTS: usize = 1000;

/// The longest id of a provider, in characters.
const MAX_EXTERNAL_ID: usize = 255;

/// How much of what a provider says beside the state is kept, in characters.
const MAX_DETAIL: usize = 200;

/// What a request reports.
pub struct Read {
    /// The reports, at least one.
    pub reports: Vec<Reported>,
    /// What is wrong with those that cannot be read.
    pub unread: Vec<Problem>,
}

/// How the reports of one backend are read.
pub struct ReportForm {
    settings: Reports,
    methods: Vec<Method>,
    max_identity: usize,
    answer: Answer,
}

impl ReportForm {
    /// The form that `settings` describe.
    #[must_use]
    pub fn new(settings: &Reports, config: &Config) -> Self {
        let (methods, answer) = match &settings.form {
            endpoints::Form::Http { methods, answer } => {
                (methods.iter().copied().map(method).collect(), Answer::of(answer))
            }
            endpoints::Form::Kannel => (vec![Method::GET], Answer::empty()),
            endpoints::Form::Vumi | endpoints::Form::Twilio => (vec![Method::POST], Answer::empty()),
        };
        let max_identity = config.ingress.max_identity_length;
        Self { settings: settings.clone(), methods, max_identity, answer }
    }

    /// The methods it takes.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The answer to reports that are in the queue.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Takes a request apart.
    pub fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem> {
        match &self.settings.form {
            endpoints::Form::Vumi => Params::json_object(request),
            endpoints::Form::Kannel | endpoints::Form::Http { .. } if request.method == Method::GET => {
                query(request)
            }
            endpoints::Form::Kannel | endpoints::Form::Http { .. } | endpoints::Form::Twilio => {
                Params::body(request, encoding_rs::UTF_8, self.settings.places.are_in_json())
            }
        }
    }

    /// Decodes and validates, once it is known who has sent it. Of many reports, those that can be read are; a request of
    /// which nothing can be is refused.
    pub fn read(&self, request: &Request, params: &Params<'_>) -> Result<Read, Vec<Problem>> {
        let alone = |problem| vec![problem];
        // The URL that a provider was given has our name of the part, also where the rest is in a body.
        let query = if request.method == Method::GET { None } else { Some(query(request).map_err(alone)?) };
        let Some(each) = &self.settings.places.each else {
            let reported = self.read_one(params, query.as_ref()).map_err(alone)?;
            return Ok(Read { reports: vec![reported], unread: Vec::new() });
        };
        let Params::Json(document) = params else {
            return Err(alone(Problem::new("Content-Type", "application/json is wanted")));
        };
        let elements = document.elements(each).filter(|elements| !elements.is_empty());
        let elements = elements
            .ok_or_else(|| alone(Problem::new(each, "an array with at least one report is wanted")))?;
        if elements.len() > MAX_REPORTS {
            return Err(alone(Problem::new(each, format!("more than {MAX_REPORTS} reports"))));
        }
        let mut read = Read { reports: Vec::new(), unread: Vec::new() };
        for element in elements {
            match self.read_one(&Params::Json(element), query.as_ref()) {
                Ok(reported) => read.reports.push(reported),
                Err(problem) => read.unread.push(problem),
            }
        }
        if read.reports.is_empty() {
            // Most often all have the same.
            read.unread.dedup();
            return Err(read.unread);
        }
        Ok(read)
    }

    fn read_one(&self, params: &Params<'_>, query: Option<&Params<'_>>) -> Result<Reported, Problem> {
        let Places { reference, external_id, state, identity, detail, .. } = &self.settings.places;
        let state = self.state(state, params)?;
        let external_id = optional(external_id.as_ref(), params, MAX_EXTERNAL_ID)?;
        let given = match (optional(reference.as_ref(), params, MAX_EXTERNAL_ID)?, query) {
            (None, Some(query)) => optional(reference.as_ref(), query, MAX_EXTERNAL_ID)?,
            (given, _) => given,
        };
        if given.is_none() && external_id.is_none() {
            let place = reference.as_ref().or(self.settings.places.external_id.as_ref());
            return Err(Problem::new(place.map_or("reference", String::as_str), "this field is required"));
        }
        let identity = optional(identity.as_ref(), params, self.max_identity)?.map(Into::into);
        let detail = detail.as_ref().and_then(|place| params.text(place).ok()?);
        let detail = detail.map(|detail| detail.trim().chars().take(MAX_DETAIL).collect::<String>());
        let detail = detail.filter(|detail| !detail.is_empty());
        Ok(Reported { reference: given, external_id, identity, state, detail })
    }

    fn state(&self, places: &[String], params: &Params<'_>) -> Result<State, Problem> {
        for place in places {
            let Some(word) = text(params, place, MAX_EXTERNAL_ID)? else { continue };
            let known = self.settings.states.iter().find(|(known, _)| known.eq_ignore_ascii_case(&word));
            let state = known.map(|(_, state)| *state);
            return state.ok_or_else(|| Problem::new(place, "not among the states of this endpoint"));
        }
        Err(Problem::new(places.first().map_or("state", String::as_str), "this field is required"))
    }
}

fn query(request: &Request) -> Result<Params<'_>, Problem> {
    Params::urlencoded(request.query().as_bytes(), encoding_rs::UTF_8)
}

fn optional(place: Option<&String>, params: &Params<'_>, limit: usize) -> Result<Option<String>, Problem> {
    place.map_or(Ok(None), |place| text(params, place, limit))
}

/// The text at `place`, without the space around it; nothing when it is blank.
fn text(params: &Params<'_>, place: &str, limit: usize) -> Result<Option<String>, Problem> {
    let problem = |rule: String| Problem::new(place, rule);
    let value = params.text(place).map_err(&problem)?;
    let value = clean(value.as_deref().unwrap_or(""), limit).map_err(problem)?;
    Ok(value.map(str::to_owned))
}

#[cfg(test)]
mod tests;
