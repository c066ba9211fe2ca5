//! The network of phones: `fakesmsc`, which writes down what it is given and sends what it is told.

use std::io::Write as _;
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::site::Site;
use crate::eventually;
use crate::processes::Process;

/// It looks at its input at least once a second.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// The longest line that it reads in one piece.
const LONGEST: usize = 254;

/// A running network.
pub(super) struct Network {
    smsc: Process,
    input: ChildStdin,
}

/// A message in the air, from a phone or to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnAir {
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `text` of the 7-bit alphabet, `ucs-2`, or `part`, one of several that belong together, of the 7-bit alphabet.
    pub kind: String,
    /// What it says.
    pub text: String,
}

impl Network {
    /// Connects to the bearerbox of `site`.
    pub(super) fn start(site: &Site) -> Result<Self> {
        let mut command = site.command("fakesmsc")?;
        command.args(["-H", "127.0.0.1", "-r", &site.smsc.to_string(), "-i", "0.01"]);
        let (smsc, input) = Process::spawn_reading("fakesmsc", &mut command)?;
        Ok(Self { smsc, input })
    }

    /// What it was given so far, in its order.
    pub(super) fn on_air(&self) -> Result<Vec<OnAir>> {
        self.lines("Got message ").iter().map(|line| OnAir::parse(line)).collect()
    }

    /// Sends a message as a phone would, a line of `fakesmsc`, and waits until it is on its way.
    pub(super) async fn send(&mut self, line: &str) -> Result<()> {
        ensure!(line.len() <= LONGEST && !line.contains('\n'), "not one line of {LONGEST}: {line}");
        let before = self.lines("sent message ").len();
        self.input.write_all(format!("{line}\n").as_bytes())?;
        eventually("fakesmsc has sent the message", SEND_DEADLINE, async || {
            let sent = self.lines("sent message ").len();
            if sent > before { Ok(()) } else { Err(format!("sent: {sent}")) }
        })
        .await
    }

    fn lines(&self, text: &str) -> Vec<String> {
        let lines = self.smsc.stderr().into_iter().chain(self.smsc.stdout());
        lines.filter(|line| line.contains(text)).collect()
    }
}

impl OnAir {
    /// A message of this `kind`.
    #[must_use]
    pub fn new(from: &str, to: &str, kind: &str, text: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), kind: kind.to_owned(), text: text.to_owned() }
    }

    /// How `fakesmsc` is told to send it; nothing where one line cannot say it.
    pub(super) fn written(&self) -> Result<String> {
        let Self { from, to, kind, text } = self;
        match kind.as_str() {
            "text" => Ok(format!("{from} {to} text {text}")),
            "ucs-2" => {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
                Ok(format!("{from} {to} ucs2 {}", percent_encode(&bytes, NON_ALPHANUMERIC)))
            }
            _ => bail!("a phone does not send {self:?}"),
        }
    }

    /// Reads a line of fakesmsc: `... Got message 1: <FROM TO KIND CONTENT>`.
    fn parse(line: &str) -> Result<Self> {
        let (_, message) = line.split_once('<').context("no message")?;
        let message = message.trim_end().strip_suffix('>').context("no end")?;
        let [from, to, kind, content] = message.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            bail!("not understood: {line}");
        };
        Ok(match kind {
            "text" => Self::new(from, to, kind, content),
            "ucs-2" => {
                let bytes = unescaped(content);
                let units = bytes.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[unit.len() - 1]]));
                Self::new(from, to, kind, &String::from_utf16(&units.collect::<Vec<_>>())?)
            }
            // `HEADER data CONTENT`
            "udh" => {
                let (_, content) =
                    content.split_once(" data ").with_context(|| format!("no data: {line}"))?;
                Self::new(from, to, "part", &String::from_utf8(unescaped(content))?)
            }
            _ => bail!("not understood: {line}"),
        })
    }
}

fn unescaped(content: &str) -> Vec<u8> {
    percent_decode_str(&content.replace('+', " ")).collect()
}
