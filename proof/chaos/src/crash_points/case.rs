//! One crash: programs of its own, orders until the place is reached, what people do while the process stands there, its
//! death, the restart, and the comparison.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use runtime::tasks::Stop;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Verdict;
use super::aim::{Aim, Aimed, REFUNDS};
use crate::check::{Check, Evidence, check};
use crate::fleet::{self, Fleet};
use crate::ground::{Ground, Servers};
use crate::hear::{Audience, Ears};
use crate::plan::Plan;
use crate::quiet::finish;
use crate::scenario::Places;
use crate::sender::send;
use crate::settings::Settings;
use crate::shop::{Shares, Shop};
use crate::tally::Tally;
use crate::told::{self, ToldLog};

/// Orders a second; the place is reached after some tens of them. People do more with each than send it.
const RATE: u32 = 50;
/// More are not sent: whatever is not reached by then is not reached.
const ORDERS: u64 = 2_500;
/// The shop has enough for so many: after some tens of orders people are refused.
const SOLD_TO: u64 = 100;
/// From this pass on some orders are paid, and some given back.
const LATE: u32 = 20;
/// Orders go on for so long after the restart: the restarted program works under load, too.
const AFTER_RESTART: Duration = Duration::from_millis(400);
/// Until the place is reached.
const REACHED_WITHIN: Duration = Duration::from_secs(90);
/// Between looks at the marker.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longer than leases here, which last two seconds.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) place: &'static str,
    pub(super) hits: u32,
    pub(super) aim: Aim,
}

/// What one writes and the other waits for.
struct Signs {
    /// Written by the process when it is at its place.
    marker: PathBuf,
    /// Written by us when it may die.
    gate: PathBuf,
}

/// What was seen while it was lived through.
struct Lived {
    tally: Arc<Tally>,
    aimed: Aimed,
    poison: u64,
    shop: Arc<Shop>,
}

impl Case {
    /// The twentieth pass of a place that each payment passes is the hundredth: a message full of them passes at once, and
    /// twenty are there before the first is paid.
    pub(super) fn new(place: &'static str, hits: u32, aim: Aim) -> Self {
        let each_payment = matches!(place, "worker.before_send" | "worker.after_answer");
        Self { place, hits: if each_payment && hits >= LATE { hits * 5 } else { hits }, aim }
    }

    fn is_of_api(self) -> bool {
        self.place.starts_with("api.")
    }

    fn is_of_follower(self) -> bool {
        self.place.starts_with("follower.")
    }

    /// Nothing that has not moved for so long will: leases here last two seconds, those of followers longer.
    fn stuck_after(self, settings: &Settings) -> Duration {
        let longest = if self.is_of_follower() { settings.taken_up_within() } else { Duration::ZERO };
        STUCK_AFTER.max(longest + Duration::from_secs(2))
    }

    fn plan<'a>(
        self,
        at: &'a Places,
        logs: &'a Path,
        settings: &'a Settings,
        signs: &Signs,
    ) -> fleet::Plan<'a> {
        fleet::Plan {
            bin_dir: &at.bin_dir,
            logs,
            settings,
            extra: Vec::new(),
            first: vec![
                ("CRASH_POINT".to_owned(), format!("{}:{}", self.place, self.hits)),
                ("CRASH_MARKER".to_owned(), signs.marker.display().to_string()),
                ("CRASH_GATE".to_owned(), signs.gate.display().to_string()),
            ],
            // One to die and one to ask.
            apis: if self.is_of_api() { 2 } else { 1 },
            workers: 1,
            followers: usize::from(self.is_of_follower()),
        }
    }

    /// Lives through it.
    pub(super) async fn carry_out(self, servers: &Servers, at: &Places) -> Result<Verdict> {
        let started = Instant::now();
        let name = format!("{}-{}-{}", self.place, self.hits, self.aim.name());
        let logs = at.report_dir.join("logs").join(name);
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs)?;
        let ground = servers.ground().await?;
        let settings = self.settings();
        let signs = Signs { marker: logs.join("marker"), gate: logs.join("gate") };
        let plan = self.plan(at, &logs, &settings, &signs);
        let fleet = Fleet::start(&plan, &ground).await?;
        let ears = if self.is_of_follower() {
            Some(Ears::open(&fleet, &ground, Audience::EVERYDAY, None, 0).await?)
        } else {
            None
        };
        let lived = self.live_through(&fleet, &ground, &logs, &signs, &settings).await?;
        let stuck_after = self.stuck_after(&settings);
        let finish = finish(&fleet, &ground, ears.as_ref(), settings.quiet_within(), stuck_after).await?;
        let heard = match ears {
            Some(ears) => Some(ears.finish().await?),
            None => None,
        };
        let told = told::read(&logs.join("told"))?;
        let access_log = std::fs::read_to_string(&fleet.access_log)?;
        let mut checks = check(&Evidence {
            ground: &ground,
            told: &told,
            answered: &lived.tally.answered(),
            settings: &settings,
            access_log: &access_log,
            finish: &finish,
            poison: lived.poison,
            shop: &lived.shop,
            sales: &lived.tally.sales(),
            heard: heard.as_ref(),
        })
        .await?
        .checks;
        checks.0.extend(self.about_the_case(&lived));
        let Lived { aimed, .. } = lived;
        let verdict = Verdict { case: self, accepted: told.len(), aimed, checks, took: started.elapsed() };
        if verdict.checks.hold() {
            std::fs::remove_dir_all(&logs)?;
            ground.amqp()?.delete().await?;
        } else {
            std::fs::write(logs.join("checks"), verdict.checks.to_string())?;
            servers.keep_evidence(&ground, &logs).await?;
        }
        Ok(verdict)
    }

    /// Whether it met anybody, and what clients complained about.
    fn about_the_case(self, lived: &Lived) -> [Check; 2] {
        let complaints = lived.tally.complaints();
        let complaints =
            Check::list("no client is told two things, or what it cannot be told", 1, &complaints);
        let mut met =
            Check::about_the_run("orders or refunds were under way while the process stood at its place");
        let has = |what: &str| lived.aimed.contains_key(what);
        let kitchen = has("CONFIRMED") || has(REFUNDS);
        let anybody = kitchen || has("PENDING") || has("PAYMENT_PROCESSING");
        match self.aim {
            // Among the first orders nothing is paid yet; and before the first is committed there is none.
            _ if self.hits == 1 && self.place == "api.before_commit" => {}
            // It has no order in hand, and its first page may come before the first order.
            _ if self.is_of_follower() => {}
            Aim::Reject | Aim::Deadline if self.hits >= LATE => {
                met.look(kitchen, || format!("nothing paid, nothing to be given back at {}", self.place));
            }
            _ => met.look(anybody, || format!("none at {}", self.place)),
        }
        [complaints, met]
    }

    /// Orders flow until the place is reached, its program is started again, and a little longer.
    async fn live_through(
        self,
        fleet: &Fleet,
        ground: &Ground,
        logs: &Path,
        signs: &Signs,
        settings: &Settings,
    ) -> Result<Lived> {
        let told = ToldLog::create(&logs.join("told"))?;
        let tally = Arc::new(Tally::default());
        let (api, manager) = (fleet.api_addrs[fleet.api_addrs.len() - 1], &fleet.tokens.manager);
        let shop = Arc::new(Shop::open(api, manager, SOLD_TO, Shares::EVERYDAY).await?);
        let plan = Plan {
            seed: 1,
            orders: ORDERS,
            rate: RATE,
            apis: fleet.api_addrs.clone(),
            tokens: fleet.tokens.clone(),
            habits: self.aim.habits(),
            deadline: settings.accept_deadline,
            shop: Arc::clone(&shop),
            cart_hold: settings.cart_hold,
        };
        let enough = Stop::new();
        let stop = Stop::new();
        let mut asking = JoinSet::new();
        let death = async {
            let died = self.until_dead(fleet, ground, signs, &tally, &mut asking).await;
            sleep(AFTER_RESTART).await;
            enough.stop();
            died
        };
        let (sent, died, poison) = tokio::join!(
            send(&plan, None, &tally, told.sender(), &enough, &stop),
            death,
            self.stir_until(&enough, fleet, ground, settings)
        );
        let aimed = died.and_then(|aimed| sent.map(|()| aimed))?;
        while asking.join_next().await.transpose().context("who asked panicked")?.is_some() {}
        tokio::task::spawn_blocking(|| told.close()).await??;
        Ok(Lived { tally, aimed, poison: poison?, shop })
    }

    /// Waits until the process stands at its place, lets people do what they do, lets it die, and starts the program
    /// again as if nothing had happened.
    async fn until_dead(
        self,
        fleet: &Fleet,
        ground: &Ground,
        signs: &Signs,
        tally: &Arc<Tally>,
        asking: &mut JoinSet<()>,
    ) -> Result<Aimed> {
        let client = Aim::client(&fleet.api_addrs[usize::from(self.is_of_api())..], &fleet.tokens, tally)?;
        let program = match self {
            _ if self.is_of_api() => &fleet.apis[0],
            _ if self.is_of_follower() => &fleet.followers[0],
            _ => &fleet.workers[0],
        };
        let mut program = program.lock().await;
        let started = Instant::now();
        let reached = || std::fs::read_to_string(&signs.marker).is_ok_and(|place| place == self.place);
        while !reached() {
            if let Some(ended) = program.ended()? {
                bail!("{} ended with {}:\n{}", program.name(), ended.status, program.last_words());
            }
            ensure!(started.elapsed() < REACHED_WITHIN, "never reached within {REACHED_WITHIN:?}");
            sleep(LOOK_EVERY).await;
        }
        let aimed = self.aim.strike(ground, &client, asking).await?;
        ensure!(program.ended()?.is_none(), "{} did not stand still", program.name());
        std::fs::write(&signs.gate, "")?;
        while program.ended()?.is_none() {
            ensure!(started.elapsed() < REACHED_WITHIN, "it stands at its place and does not die");
            sleep(LOOK_EVERY).await;
        }
        program.unset("CRASH_POINT");
        program.start()?;
        Ok(aimed)
    }
}
