//! A run: what it is to do, where, and what was seen of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::check::Check;
use crate::fault::Kind;
use crate::hear::{Audience, Heard};
use crate::inject::Fired;
use crate::quiet::Finish;
use crate::settings::Settings;
use crate::shop::{Shares, Shop};
use crate::tally::Tally;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Names the directory of its logs.
    pub name: String,
    /// Makes orders and schedule.
    pub seed: u64,
    /// So many orders.
    pub orders: u64,
    /// A second.
    pub rate: u32,
    /// What the programs are told.
    pub settings: Settings,
    /// How much of it is of the catalogue.
    pub shares: Shares,
    /// So many follow and tell others: 0, and nobody listens.
    pub followers: usize,
    /// How many those are whom they tell, and who watch.
    pub audience: Audience,
    /// So many faults of each kind.
    pub counts: Vec<(Kind, u32)>,
    /// A bug that the programs are told to have.
    pub sabotage: Option<&'static str>,
    /// Further settings of the programs, over all others.
    pub set: Vec<(String, String)>,
    /// Nothing that moved for so long will move any more.
    pub stuck_after: Duration,
    /// Whether to say how far it is.
    pub watched: bool,
    /// Whether to keep logs and data where something is wrong.
    pub keep_evidence: bool,
    /// Whether to keep them even so.
    pub keep_logs: bool,
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The programs.
    pub bin_dir: PathBuf,
    /// Reports and logs.
    pub report_dir: PathBuf,
}

/// What was seen while it ran.
pub(crate) struct Seen {
    /// What struck.
    pub(crate) fired: Vec<Fired>,
    /// What clients met.
    pub(crate) tally: Arc<Tally>,
    /// Programs that ended by themselves, and that ended badly when they were asked to end.
    pub(crate) bad_ends: Vec<String>,
    pub(crate) bad_stops: Vec<String>,
    /// How it was when all had ended.
    pub(crate) finish: Finish,
    /// What was sold of the catalogue.
    pub(crate) shop: Arc<Shop>,
    /// What those heard who are told of what happens.
    pub(crate) heard: Option<Heard>,
    /// What the feed gave meanwhile.
    pub(crate) followed: Vec<Check>,
    /// From the first order to there.
    pub(crate) elapsed: Duration,
}
