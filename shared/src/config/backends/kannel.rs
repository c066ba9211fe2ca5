//! Engine `kannel`: the `sendsms` of a Kannel's smsbox.

use secrecy::SecretString;

use super::{
    super::{
        Concurrency,
        problem::suggestion,
        reader::{Entry, Read, Section},
        reports::check_base,
        tree::Value,
    },
    HttpUrl, Texts, check_own,
};

/// Where smsbox listens by default.
const DEFAULT_URL: &str = "http://127.0.0.1:13013/cgi-bin/sendsms";

/// What the engine sets itself, for each message.
const OWN: [&str; 4] = ["to", "text", "coding", "charset"];

/// What it sets when delivery reports are asked for.
const OWN_FOR_REPORTS: [&str; 2] = ["dlr-mask", "dlr-url"];

/// The settings of the `kannel` engine.
#[derive(Clone, Debug)]
pub struct Kannel {
    /// Where smsbox takes messages.
    pub url: HttpUrl,
    /// What is sent beside the message, in the order in which it was written: the user, the sender, the connection.
    pub params: Vec<(String, SecretString)>,
    /// The coding of every text; without it the one that the text needs.
    pub coding: Option<Coding>,
    /// The charset of every text; without it the one that Kannel takes for granted.
    pub charset: Option<(String, Charset)>,
    /// How many numbers one call has at most.
    pub batch: usize,
    /// Where Kannel reaches the gateway with delivery reports; without it, it is not asked for any.
    pub delivery_report_url: Option<HttpUrl>,
}

/// What Kannel makes of a text. The numbers are Kannel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The 7-bit alphabet.
    SevenBit = 0,
    /// Bytes as they come.
    EightBit = 1,
    /// UCS-2.
    Ucs2 = 2,
}

/// How a text is written on its way to Kannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// ASCII.
    Ascii,
    /// ISO-8859-1.
    Latin1,
    /// UTF-8.
    Utf8,
    /// UTF-16, the high byte first.
    Utf16Be,
}

const CHARSETS: [(&str, Charset); 6] = [
    ("ascii", Charset::Ascii),
    ("us-ascii", Charset::Ascii),
    ("iso-8859-1", Charset::Latin1),
    ("latin1", Charset::Latin1),
    ("utf-8", Charset::Utf8),
    ("utf-16be", Charset::Utf16Be),
];

/// Reads the keys of a backend that has a `rate` or not, and does this with its texts.
pub(super) fn read(section: &mut Section<'_>, has_rate: bool, texts: Texts) -> Option<Kannel> {
    let fallback = if section.has("sendsms_url") { None } else { HttpUrl::fallback(DEFAULT_URL) };
    let url = section.optional("sendsms_url").or(fallback);
    let report_origin = section.origin_of("delivery_report_url");
    let delivery_report_url: Option<HttpUrl> = section.optional("delivery_report_url");
    check_base(section, &report_origin, "delivery_report_url", delivery_report_url.as_ref());
    let origin = section.origin_of("sendsms_params");
    let params: Option<Vec<(String, Parameter)>> =
        if section.has("sendsms_params") { section.optional("sendsms_params") } else { Some(Vec::new()) };
    if let (Some(url), Some(params)) = (&url, &params) {
        check_own(section, &origin, params, &OWN);
        if delivery_report_url.is_some() {
            check_own(section, &origin, params, &OWN_FOR_REPORTS);
        }
        for names in [["username", "user"], ["password", "pass"]] {
            let in_url = url.get().query_pairs().any(|(name, _)| names.contains(&name.as_ref()));
            if !in_url && !params.iter().any(|(name, _)| names.contains(&name.as_str())) {
                let message = format!("`{}` is missing, without which Kannel takes nothing", names[0]);
                section.problem_at(&origin, "sendsms_params", message);
            }
        }
    }
    let (coding, charset) = read_coding(section, texts);
    let batch_origin = section.origin_of("batch");
    let batch = section.or("batch", Concurrency(1)).0.into();
    if batch > 1 && has_rate {
        let message =
            "with `rate` each call has one number, so that messages are counted; leave one of both out";
        section.problem_at(&batch_origin, "batch", message);
    }
    let params = params?.into_iter().map(|(name, Parameter(value))| (name, value)).collect();
    Some(Kannel { url: url?, params, coding, charset, batch, delivery_report_url })
}

fn read_coding(section: &mut Section<'_>, texts: Texts) -> (Option<Coding>, Option<(String, Charset)>) {
    let origin = section.origin_of("coding");
    let (coding, has_charset) = (section.optional("coding"), section.has("charset"));
    let charset = section.optional_with("charset", |entry| read_charset(&entry));
    if coding == Some(Coding::EightBit) {
        if !has_charset {
            let message = "1 sends bytes as they are; write the `charset` that they are in";
            section.problem_at(&origin, "coding", message);
        }
        if texts.split || texts.max_parts.is_some() {
            let message = "1 sends bytes, and characters are what is counted and cut; leave `split` and `max_parts` out";
            section.problem_at(&origin, "coding", message);
        }
    }
    (coding, charset)
}

/// The charset, with the name by which Kannel shall be told.
fn read_charset(entry: &Entry<'_>) -> Option<(String, Charset)> {
    let name = String::read(entry.clone())?;
    let known = CHARSETS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
    let charset = known.map(|(_, charset)| *charset);
    charset.map(|charset| (name.clone(), charset)).or_else(|| {
        let near = suggestion(&name.to_ascii_lowercase(), CHARSETS.map(|(known, _)| known));
        entry.problem(format!("{} cannot be written{near}", entry.shown(&name)))
    })
}

/// A value of `sendsms_params`, which may be a number.
struct Parameter(SecretString);

impl Read for Parameter {
    fn read(entry: Entry<'_>) -> Option<Self> {
        match &entry.node.value {
            Value::String(text) => Some(Self(text.clone().into())),
            Value::Integer(integer) => Some(Self(integer.to_string().into())),
            Value::Float(_) | Value::Boolean(_) | Value::Array(_) | Value::Table(_) => {
                entry.problem("a string or an integer is wanted")
            }
        }
    }
}

impl Read for Coding {
    fn read(entry: Entry<'_>) -> Option<Self> {
        match i64::read(entry.clone())? {
            0 => Some(Self::SevenBit),
            1 => Some(Self::EightBit),
            2 => Some(Self::Ucs2),
            _ => entry.problem(
                "0 (7 bits), 1 (8 bits) or 2 (UCS-2) is wanted; without it each text has what it needs",
            ),
        }
    }
}
