//! From a message to its parts: the backend's settings make the texts, and the engine says who shares a call.

use std::{borrow::Cow, sync::Arc};

use shared::{config::backends::Texts, message::OutgoingMessage, text};

use super::{Backend, Part, SendError};

impl Backend {
    /// The parts of `message`, in the order in which they are sent: those of one identity in the order of the text.
    /// The same message always gives the same parts.
    pub fn plan<'m>(&self, message: &'m OutgoingMessage) -> Result<Vec<Part<'m>>, SendError> {
        let written = Cow::Borrowed(message.text.as_str());
        let texts =
            self.cut(if self.texts.substitute { text::substitute(&message.text) } else { written })?;
        let calls = self.engine.plan(message);
        Ok(calls.iter().flat_map(|call| for_each_text(call, &texts)).collect())
    }

    fn cut(&self, text: Cow<'_, str>) -> Result<Vec<Arc<str>>, SendError> {
        let Texts { split, max_parts, .. } = self.texts;
        if !split && max_parts.is_none() {
            return Ok(vec![text.into()]);
        }
        let parts = text::split_as(&text, self.engine.alphabet(&text)?);
        if let Some(most) = max_parts.filter(|most| parts.len() > usize::from(*most)) {
            let reason = format!("the text takes {} parts, and max_parts is {most}", parts.len());
            return Err(SendError::Rejected { reason, answer: String::new() });
        }
        Ok(if split { parts.into_iter().map(Arc::from).collect() } else { vec![text.into()] })
    }
}

fn for_each_text<'m>(call: &Part<'m>, texts: &[Arc<str>]) -> impl Iterator<Item = Part<'m>> {
    (1..).zip(texts).map(|(number, text)| call.with_text(number, Arc::clone(text)))
}

#[cfg(test)]
mod tests;
