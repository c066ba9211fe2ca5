//! What processes cost, as the kernel accounts for it.

use std::fs;

use anyhow::{Context, Result};

/// Microseconds in one tick of the kernel's accounting.
const TICK: f64 = 10_000.0;

/// What a measurement has cost.
pub(super) struct Costs {
    /// CPU time of the subject, in microseconds.
    pub(super) own: f64,
    /// The same of the broker.
    pub(super) broker: f64,
    /// Memory of the subject.
    pub(super) resident_kib: u64,
}

/// The CPU time that some processes have used since the meter was made.
pub(super) struct Meter {
    processes: Vec<u32>,
    before: f64,
}

impl Meter {
    pub(super) fn start(processes: &[u32]) -> Result<Self> {
        Ok(Self { before: used(processes)?, processes: processes.to_vec() })
    }

    /// In microseconds, user and system.
    pub(super) fn micros(&self) -> Result<f64> {
        Ok(used(&self.processes)? - self.before)
    }
}

fn used(processes: &[u32]) -> Result<f64> {
    let of = |process: &u32| -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name may have spaces; after it the times are the 12th and 13th field.
        let (_, fields) = stat.rsplit_once(") ").context("no name")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |place: usize| anyhow::Ok(fields.get(place).context("no time")?.parse::<f64>()?);
        Ok((ticks(11)? + ticks(12)?) * TICK)
    };
    processes.iter().map(of).sum()
}

/// A count to calculate with.
pub(super) fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
