//! From a message to its parts: the backend's settings make the texts, and the engine says who shares a call.

use std::borrow::Cow;

use shared::{config::backends::Texts, message::OutgoingMessage, text};

use super::{Backend, Part, SendError};

impl Backend {
    /// The parts of `message`, in the order in which they are sent: those of one identity in the order of the text.
    /// The same message always gives the same parts.
    pub fn plan(&self, message: &OutgoingMessage) -> Result<Vec<Part>, SendError> {
        let written = Cow::Borrowed(message.text.as_str());
        let text = if self.texts.substitute { text::substitute(&message.text) } else { written };
        let texts = cut(self.texts, &text)?;
        let calls = self.engine.plan(message)?;
        Ok(calls.iter().flat_map(|call| for_each_text(call, &texts)).collect())
    }
}

fn cut(Texts { split, max_parts, .. }: Texts, text: &str) -> Result<Vec<&str>, SendError> {
    if !split && max_parts.is_none() {
        return Ok(vec![text]);
    }
    let parts = text::split(text);
    if let Some(most) = max_parts.filter(|most| parts.len() > usize::from(*most)) {
        let reason = format!("the text takes {} parts, and max_parts is {most}", parts.len());
        return Err(SendError::Rejected { reason, answer: String::new() });
    }
    Ok(if split { parts } else { vec![text] })
}

/// The first part keeps the id of the call, so that a message in one part has the id that it always had.
fn for_each_text(call: &Part, texts: &[&str]) -> impl Iterator<Item = Part> {
    (1..).zip(texts).map(|(number, text)| Part {
        id: if number == 1 { call.id } else { call.id.response(number.into()) },
        message_id: call.message_id,
        identities: call.identities.clone(),
        number,
        text: (*text).to_owned(),
    })
}

#[cfg(test)]
mod tests;
