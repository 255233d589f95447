//! What processes cost: processor time and memory, as Linux accounts them in /proc.
#![expect(clippy::float_arithmetic, reason = "statistics; no money passes here")]

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// Ticks of `/proc/PID/stat` a second: 100 on every Linux, whatever the kernel's own clock (`getconf CLK_TCK`).
const TICKS_A_SECOND: u64 = 100;
const MICROS_A_TICK: u64 = 1_000_000 / TICKS_A_SECOND;

/// A process, with all that it starts, under the name that the report gives it.
pub(super) type Watched = (&'static str, u32);

/// Processor time used up to now, in microseconds.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    by_name: BTreeMap<&'static str, u64>,
    /// By everything on this machine.
    machine: u64,
}

impl Usage {
    /// Looks now.
    pub(super) fn now(watched: &[Watched]) -> Result<Self> {
        let processes = processes();
        let by_name =
            watched.iter().map(|(name, pid)| (*name, family_ticks(*pid, &processes) * MICROS_A_TICK));
        Ok(Self { by_name: by_name.collect(), machine: machine_ticks()? * MICROS_A_TICK })
    }

    /// What was used since `before`, for each of `orders`.
    pub(super) fn since(&self, before: &Self, orders: u64) -> Cost {
        let per_order = |micros: u64| if orders == 0 { 0.0 } else { micros as f64 / orders as f64 };
        let used = |name| {
            self.by_name
                .get(name)
                .copied()
                .unwrap_or(0)
                .saturating_sub(before.by_name.get(name).copied().unwrap_or(0))
        };
        let ours: u64 = self.by_name.keys().map(&used).sum();
        let machine = self.machine.saturating_sub(before.machine);
        Cost {
            us_per_order: self
                .by_name
                .keys()
                .map(|name| ((*name).to_owned(), per_order(used(name))))
                .collect(),
            us_per_order_sum: per_order(ours),
            others_share: if machine == 0 {
                0.0
            } else {
                machine.saturating_sub(ours) as f64 / machine as f64
            },
        }
    }
}

/// Processor time an order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    /// Microseconds an order, by process; as many as CPU milliseconds per 1,000 orders.
    pub us_per_order: BTreeMap<String, f64>,
    /// Of all of them together.
    pub us_per_order_sum: f64,
    /// How much of the machine's busy time was somebody else's, the kernel's own work included. On a quiet machine
    /// a few percent; well above that the figures are too low.
    pub others_share: f64,
}

/// A process's memory in MB (a million bytes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Most that was resident since its start.
    pub peak_rss_mb: f64,
    /// Its fair share of what is resident now: shared pages are divided among those who share them.
    pub pss_mb: f64,
}

impl Memory {
    /// Of a process with all that it starts. Peaks of several are added, though they may not have met.
    pub(super) fn of(pid: u32) -> Self {
        let processes = processes();
        let mut sum = Self::default();
        for pid in family(pid, &processes) {
            sum.peak_rss_mb += megabytes(pid, "status", "VmHWM:");
            sum.pss_mb += megabytes(pid, "smaps_rollup", "Pss:");
        }
        sum
    }
}

/// A line such as `VmHWM:  123 kB`. 0 where the process is gone.
fn megabytes(pid: u32, file: &str, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes: f64 =
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    kibibytes * 1_024.0 / 1_000_000.0
}

#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
    /// Its own, and that of its children that have ended.
    ticks: u64,
    children_ticks: u64,
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read_stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// See `man 5 proc_pid_stat`. Counted from the state, the third field: the second, a name, may hold anything.
fn read_stat(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<u64> =
        stat.rsplit_once(") ")?.1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let parent = u32::try_from(*fields.get(1)?).ok()?;
    let sum = |at: usize| Some(fields.get(at)? + fields.get(at + 1)?);
    Some(Process { pid, parent, ticks: sum(11)?, children_ticks: sum(13)? })
}

/// The process and all below it.
fn family(root: u32, processes: &[Process]) -> Vec<u32> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(processes.iter().filter(|one| one.parent == parent).map(|one| one.pid));
        next += 1;
    }
    family
}

/// Of those that run, and of those that have ended: PostgreSQL's sessions come and go.
fn family_ticks(root: u32, processes: &[Process]) -> u64 {
    // Ourselves alone: what we have started is counted under its own name.
    let family = if root == std::process::id() { vec![root] } else { family(root, processes) };
    let of = |pid: &u32| processes.iter().find(|one| one.pid == *pid);
    let running: u64 = family.iter().filter_map(of).map(|one| one.ticks).sum();
    let ended = if root == std::process::id() { 0 } else { of(&root).map_or(0, |one| one.children_ticks) };
    running + ended
}

/// All but idle, waiting for disks, and guests (which are in user time already).
fn machine_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let cpu = stat.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = cpu.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields[..] else {
        anyhow::bail!("/proc/stat has fewer fields than expected");
    };
    Ok(user + nice + system + irq + softirq + steal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_what_it_takes() {
        let me = [("me", std::process::id())];
        let before = Usage::now(&me).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0_u64;
        while started.elapsed() < std::time::Duration::from_millis(300) {
            sum = std::hint::black_box(sum + 1);
        }
        let cost = Usage::now(&me).unwrap().since(&before, 100);
        // 3,000 us an order if we had a core for ourselves; a tick more at most, and some less on a busy machine.
        assert!((500.0..=3_200.0).contains(&cost.us_per_order["me"]), "{cost:?}");
        let memory = Memory::of(std::process::id());
        assert!(memory.peak_rss_mb > 1.0 && memory.pss_mb > 0.5, "{memory:?}");
    }
}
