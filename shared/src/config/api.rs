//! `[api]`: which programs may send through the public listener. Only hashes of their tokens are written here.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    LiveRate,
    backends::Backend,
    endpoints::read_backend,
    problem::Origin,
    reader::{Entry, Read, Section, items},
    tree::Value,
};
use crate::message::BackendName;

/// What every path of the API begins with; no endpoint has a path there.
pub const PREFIX: &str = "/api";

/// The hashes of nothing, and of a line break alone: what a shell makes of a variable that is not set.
const OF_NOTHING: [&str; 2] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
];

/// `[api]`.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// The programs that may send. None at all: the public listener has no API.
    pub tokens: Vec<Token>,
}

/// A program that may send.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its name, for logs and metrics.
    pub name: String,
    /// The SHA-256 of each token that it may show. More than one while they are being replaced.
    pub hashes: Vec<Hash>,
    /// The backends that it may send through.
    pub backends: BTreeSet<BackendName>,
    /// How many messages a second it may submit.
    pub rate: Option<LiveRate>,
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

/// What the tokens before have taken, and where they stand.
#[derive(Default)]
struct Taken {
    names: BTreeMap<String, Origin>,
    hashes: BTreeMap<Hash, Origin>,
}

/// Reads `[api]`.
pub(super) fn read(mut section: Section<'_>, backends: &BTreeMap<BackendName, Option<Backend>>) -> Api {
    let mut taken = Taken::default();
    let tokens = section.sections("tokens").into_iter();
    let tokens = tokens.filter_map(|token| read_token(token, backends, &mut taken)).collect();
    section.finish();
    Api { tokens }
}

fn read_token(
    mut section: Section<'_>,
    known: &BTreeMap<BackendName, Option<Backend>>,
    taken: &mut Taken,
) -> Option<Token> {
    let name = section.required_with("name", |entry| read_name(&entry, &mut taken.names));
    let hashes = section.required_with("hash", |entry| read_hashes(entry, &mut taken.hashes));
    let backends = section.required_with("backends", |entry| read_backends(entry, known));
    let rate = section.optional("rate");
    section.finish();
    Some(Token { name: name?, hashes: hashes?, backends: backends?, rate })
}

fn read_name(entry: &Entry<'_>, taken: &mut BTreeMap<String, Origin>) -> Option<String> {
    let name = String::read(entry.clone())?;
    // The rule of backends, whose names stand beside these in logs and metrics.
    if name.parse::<BackendName>().is_err() {
        return entry.problem("a name is 1 to 64 letters, digits, `_` or `-`");
    }
    if let Some(earlier) = taken.insert(name.clone(), entry.node.origin.clone()) {
        entry.note(format!(
            "the token at {earlier} has this name; to replace a token write both: hash = [\"OLD\", \"NEW\"]"
        ));
    }
    Some(name)
}

/// One hash, or an array of them.
fn read_hashes(entry: Entry<'_>, taken: &mut BTreeMap<Hash, Origin>) -> Option<Vec<Hash>> {
    let are_many = matches!(&entry.node.value, Value::Array(all) if !all.is_empty());
    let entries = if are_many { items(entry)? } else { vec![entry] };
    let read = |entry: Entry<'_>| {
        let hash = Hash::read(entry.clone())?;
        if let Some(earlier) = taken.insert(hash, entry.node.origin.clone()) {
            entry.note(format!("the same hash stands at {earlier}; every program has a token of its own"));
        }
        Some(hash)
    };
    // All of them, so that the problems of each are noted.
    let hashes: Vec<Option<Hash>> = entries.into_iter().map(read).collect();
    hashes.into_iter().collect()
}

fn read_backends(
    entry: Entry<'_>,
    known: &BTreeMap<BackendName, Option<Backend>>,
) -> Option<BTreeSet<BackendName>> {
    let same = entry.clone();
    let backends: Vec<_> = items(entry)?.iter().map(|entry| read_backend(entry, known)).collect();
    if backends.is_empty() {
        return same.problem("at least one backend is wanted: this token could send nothing");
    }
    backends.into_iter().collect()
}

impl Read for Hash {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let text = String::read(entry.clone())?;
        if OF_NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing)) {
            return entry.problem("this is the hash of nothing: the token was empty when it was hashed");
        }
        // Not even a part of the value is told: it may be the token itself.
        parse(&text).map(Self).or_else(|| {
            entry.problem(
                "the SHA-256 of a token is wanted, 64 hexadecimal digits, never the token itself: \
                 printf %s \"$TOKEN\" | sha256sum",
            )
        })
    }
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problems, Rate};

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn parse(text: &str) -> Result<Config, Problems> {
        let text = format!(
            "[queue]\nurl = 'embedded:x'\n[backends.a]\nengine = 'httptester'\n[backends.b]\nengine = 'httptester'\n{text}"
        );
        Config::parse("g.toml", &text, &BTreeMap::new())
    }

    fn told(text: &str) -> Vec<String> {
        parse(text).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_token_has_a_name_hashes_and_backends_and_there_may_be_none() {
        assert!(parse("").unwrap().api.tokens.is_empty());
        let other = HASH.replace('9', "A");
        let text = format!(
            "[[api.tokens]]\nname = 'survey'\nhash = '{HASH}'\nbackends = ['a']\nrate = 0.5\n\
             [[api.tokens]]\nname = 'clinic'\nhash = ['{other}', '{}']\nbackends = ['a', 'b']\n",
            "0".repeat(64)
        );
        let tokens = parse(&text).unwrap().api.tokens;
        let [survey, clinic] = &tokens[..] else { panic!("{tokens:?}") };
        assert_eq!((survey.name.as_str(), survey.hashes[0].0[..2].to_vec()), ("survey", vec![0x9f, 0x86]));
        assert_eq!(survey.rate.as_ref().map(LiveRate::now), Rate::per_second(0.5));
        assert!(clinic.rate.is_none());
        assert_eq!((clinic.hashes.len(), clinic.hashes[0].0[0], clinic.backends.len()), (2, 0xaf, 2));
    }

    #[test]
    fn everything_that_is_wrong_with_tokens_is_told_at_once() {
        let text = format!(
            "[api]\ntoken = 1\ntokens = [\n\
             {{ name = 'x y', hash = 'secret', backends = [] }},\n\
             {{ name = 'survey', hash = '{HASH}', backends = ['c'], rate = 0 }},\n\
             {{ name = 'survey', hash = ['{HASH}', '{}'], backends = ['a'] }},\n{{ hash = [] }},\n]\n",
            OF_NOTHING[0]
        );
        let hash = "the SHA-256 of a token is wanted, 64 hexadecimal digits, never the token itself: printf %s \"$TOKEN\" | sha256sum";
        assert_eq!(
            told(&text),
            [
                "g.toml:8: api.token: unknown key; did you mean `tokens`?",
                "g.toml:10: api.tokens[0].backends: at least one backend is wanted: this token could send nothing",
                &format!("g.toml:10: api.tokens[0].hash: {hash}"),
                "g.toml:10: api.tokens[0].name: a name is 1 to 64 letters, digits, `_` or `-`",
                "g.toml:11: api.tokens[1].backends[0]: there is no backend `c`; did you mean `a`?; write [backends.c] with its engine",
                "g.toml:11: api.tokens[1].rate: messages a second are wanted, a number from 0.01 to 10000, such as 20 or 0.5",
                "g.toml:12: api.tokens[2].hash[0]: the same hash stands at g.toml:11; every program has a token of its own",
                "g.toml:12: api.tokens[2].hash[1]: this is the hash of nothing: the token was empty when it was hashed",
                "g.toml:12: api.tokens[2].name: the token at g.toml:11 has this name; to replace a token write both: hash = [\"OLD\", \"NEW\"]",
                "g.toml:13: api.tokens[3]: `backends` is missing",
                "g.toml:13: api.tokens[3]: `name` is missing",
                "g.toml:13: api.tokens[3].hash: a string is wanted, not an array",
            ]
        );
        let one = format!("[api.tokens]\nname = 'x'\nhash = '{HASH}'\n");
        assert_eq!(
            told(&one),
            ["g.toml:7: api.tokens: an array is wanted, not a table; write [[api.tokens]]"]
        );
    }

    #[test]
    fn no_endpoint_is_in_the_place_of_the_api() {
        for path in ["/api", "/api/", "/api/v1/messages"] {
            let told = told(&format!("[[endpoints]]\nbackend = 'a'\npath = '{path}'\n"));
            let expected =
                "g.toml:9: endpoints[0].path: paths from `/api/` on are the API's; write another one";
            assert_eq!(told, [expected], "{path}");
        }
        for path in ["/apis", "/API/", "/v1/api/"] {
            assert!(parse(&format!("[[endpoints]]\nbackend = 'a'\npath = '{path}'\n")).is_ok(), "{path}");
        }
    }
}
