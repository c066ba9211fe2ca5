//! What processes cost, as the kernel accounts for it.

use std::fs;

use anyhow::{Context, Result};

use super::case::{Measure, Part, Values};

/// Microseconds in one tick of the kernel's accounting.
const TICK: f64 = 10_000.0;

/// The CPU time that some processes have used since the meter was made.
pub(super) struct Meter(Vec<(Part, u32, f64)>);

impl Meter {
    pub(super) fn start(processes: &[(Part, u32)]) -> Result<Self> {
        processes
            .iter()
            .map(|(part, process)| Ok((*part, *process, used(*process)?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The CPU time of each part for each of `messages`, and its memory.
    pub(super) fn costs(&self, messages: u64) -> Result<Values> {
        let mut values = self.memory()?;
        for (part, process, before) in &self.0 {
            *values.entry(Measure::CpuUs(*part)).or_default() +=
                (used(*process)? - before) / float(messages.max(1));
        }
        Ok(values)
    }

    /// The memory of each part but the broker, which has had other work before; of several processes, that of the largest.
    pub(super) fn memory(&self) -> Result<Values> {
        let mut values = Values::new();
        for (part, process, _) in self.0.iter().filter(|(part, ..)| *part != Part::Broker) {
            let [resident, peak] = memory(*process)?;
            for (measure, mib) in [(Measure::ResidentMib(*part), resident), (Measure::PeakMib(*part), peak)] {
                let most = values.entry(measure).or_default();
                *most = most.max(mib);
            }
        }
        Ok(values)
    }
}

/// In microseconds, user and system.
fn used(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may have spaces; after it the times are the 12th and 13th field.
    let (_, fields) = stat.rsplit_once(") ").context("no name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |place: usize| anyhow::Ok(fields.get(place).context("no time")?.parse::<f64>()?);
    Ok((ticks(11)? + ticks(12)?) * TICK)
}

/// The memory that a process has, and the most that it has had, in MiB.
fn memory(process: u32) -> Result<[f64; 2]> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        anyhow::Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    };
    Ok([mib("VmRSS:")?, mib("VmHWM:")?])
}

/// A count to calculate with.
pub(super) fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
