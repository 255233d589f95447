//! Carrying out the schedule: each fault strikes when its time has come and whom it strikes is free, and is mended
//! when it is over. What really happened, and when, is kept.

mod gateway;
mod locks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use servers::{Postgres, RabbitMq};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::{self, Micros};
use crate::fault::{Kind, MAX_DELAY};
use crate::fleet::{Fleet, Lane};
use crate::ground::{Servers, with};
use crate::program::Program;
use crate::proxy::Mode;
use crate::schedule::Event;
use crate::settings::Settings;

/// A fault that struck.
#[derive(Debug, Clone)]
pub struct Fired {
    /// What.
    pub kind: Kind,
    /// Whom, by name.
    pub target: String,
    /// When.
    pub from: Micros,
    /// When it was mended; `None` while it lasts.
    pub until: Option<Micros>,
}

/// Who breaks and mends.
#[derive(Debug)]
pub struct Injector {
    fleet: Arc<Fleet>,
    servers: Servers,
    settings: Settings,
    http: reqwest::Client,
    fired: Mutex<Vec<Fired>>,
    /// Programs that ended badly when they were asked to end.
    bad_stops: Mutex<Vec<String>>,
    rolling: tokio::sync::Mutex<()>,
    /// Whoever does something to a PostgreSQL: of two servers neither may be struck while they change places.
    at_postgres: tokio::sync::Mutex<()>,
}

impl Injector {
    /// For this fleet on these servers.
    pub fn new(fleet: Arc<Fleet>, servers: Servers, settings: Settings) -> Result<Self> {
        let http = crate::fleet::http()?;
        Ok(Self {
            fleet,
            servers,
            settings,
            http,
            fired: Mutex::default(),
            bad_stops: Mutex::default(),
            rolling: tokio::sync::Mutex::default(),
            at_postgres: tokio::sync::Mutex::default(),
        })
    }

    /// What struck so far.
    pub fn fired(&self) -> Vec<Fired> {
        self.lock().clone()
    }

    /// Programs that ended badly when they were asked to end.
    pub fn bad_stops(&self) -> Vec<String> {
        self.bad_stops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fired>> {
        self.fired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out all of it from now on; returns when the last fault is mended.
    pub async fn run(self: &Arc<Self>, events: Vec<Event>) -> Result<()> {
        let start = Instant::now();
        let mut faults = JoinSet::new();
        for event in events {
            let injector = Arc::clone(self);
            faults.spawn(async move {
                sleep_until(start + event.at).await;
                let what = format!("{:?} {}", event.kind, event.target);
                injector.strike(event).await.context(what)
            });
        }
        while let Some(done) = faults.join_next().await {
            done.context("a fault's task panicked")??;
        }
        Ok(())
    }

    async fn strike(&self, event: Event) -> Result<()> {
        let Event { kind, target, lasts, .. } = event;
        match kind {
            Kind::KillApi => self.kill(kind, &self.fleet.apis[target], lasts).await,
            Kind::KillWorker => self.kill(kind, &self.fleet.workers[target], lasts).await,
            Kind::KillFollower => self.kill(kind, &self.fleet.followers[target], lasts).await,
            Kind::StopFollower => self.stop(kind, &self.fleet.followers[target], lasts).await,
            Kind::StopApi => self.stop(kind, &self.fleet.apis[target], lasts).await,
            Kind::StopWorker => self.stop(kind, &self.fleet.workers[target], lasts).await,
            Kind::RollingRestart => self.roll(lasts).await,
            Kind::KillPostgres => {
                let _one_at_a_time = self.at_postgres.lock().await;
                let (kill, restart) = (Postgres::kill, Postgres::restart);
                self.strike_server(kind, &self.servers.postgres, kill, restart, lasts).await
            }
            Kind::Failover => self.fail_over(lasts).await,
            Kind::KillRabbitmq => {
                let (kill, restart) = (RabbitMq::kill, RabbitMq::restart);
                self.strike_server(kind, &self.servers.rabbitmq, kill, restart, lasts).await
            }
            Kind::PausePostgres => {
                let _one_at_a_time = self.at_postgres.lock().await;
                let (pause, resume) = (pausing(Postgres::pause), pausing(Postgres::resume));
                self.strike_server(kind, &self.servers.postgres, pause, resume, lasts).await
            }
            Kind::PauseRabbitmq => {
                let (pause, resume) = (pausing(RabbitMq::pause), pausing(RabbitMq::resume));
                self.strike_server(kind, &self.servers.rabbitmq, pause, resume, lasts).await
            }
            Kind::Cut | Kind::Delay | Kind::Hole | Kind::Deaf => self.break_way(kind, target, lasts).await,
            Kind::HeldLocks => self.hold_locks(lasts).await,
            Kind::KillGateway => self.kill_gateway(lasts).await,
            _ => self.switch_gateway(kind, lasts).await,
        }
    }

    async fn kill(&self, kind: Kind, program: &Lane<Program>, lasts: Duration) -> Result<()> {
        let mut program = program.lock().await;
        let mark = self.begin(kind, program.name());
        program.kill().await?;
        sleep(lasts).await;
        program.start()?;
        self.end(mark);
        Ok(())
    }

    async fn strike_server<S: Send + 'static>(
        &self,
        kind: Kind,
        server: &Arc<Mutex<S>>,
        strike: impl FnOnce(&mut S) -> Result<()> + Send + 'static,
        mend: impl FnOnce(&mut S) -> Result<()> + Send + 'static,
        lasts: Duration,
    ) -> Result<()> {
        // Its name is that of its group.
        let mark = self.begin(kind, &format!("{:?}", kind.group()).to_lowercase());
        with(server, strike).await??;
        sleep(lasts).await;
        with(server, mend).await??;
        self.end(mark);
        Ok(())
    }

    async fn fail_over(&self, lasts: Duration) -> Result<()> {
        let pair = self.servers.pair.as_ref().context("there is no standby")?;
        let _one_at_a_time = self.at_postgres.lock().await;
        let mark = self.begin(Kind::Failover, "postgres");
        pair.fail_over(lasts).await.context("the standby does not take over")?;
        pair.rejoin().await.context("the one that died does not come back")?;
        self.end(mark);
        Ok(())
    }

    async fn stop(&self, kind: Kind, program: &Lane<Program>, lasts: Duration) -> Result<()> {
        let program = program.lock().await;
        let mark = self.begin(kind, program.name());
        program.pause(true);
        sleep(lasts).await;
        program.pause(false);
        self.end(mark);
        Ok(())
    }

    async fn roll(&self, pause: Duration) -> Result<()> {
        let _one_at_a_time = self.rolling.lock().await;
        let mark = self.begin(Kind::RollingRestart, "apis, workers and followers");
        for program in self.fleet.of_the_house() {
            let mut program = program.lock().await;
            // One that has just been started does not hear yet that it is to end.
            program.until_up().await;
            if let Some(complaint) = program.stop().await? {
                self.bad_stops.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
            }
            sleep(pause).await;
            program.start()?;
            // As whoever restarts one after the other should: else there is a moment without any.
            program.until_up().await;
        }
        self.end(mark);
        Ok(())
    }

    async fn break_way(&self, kind: Kind, target: usize, lasts: Duration) -> Result<()> {
        let edge = self.fleet.edges[target % self.fleet.edges.len()].lock().await;
        let mark = self.begin(kind, &edge.name);
        match kind {
            Kind::Delay => {
                let mut dice = StdRng::seed_from_u64(u64::try_from(lasts.as_nanos()).unwrap_or(0));
                edge.proxy.set(Mode::Delay(dice.random_range(Duration::ZERO..=MAX_DELAY)));
            }
            Kind::Hole => edge.proxy.set(Mode::Hole),
            Kind::Deaf => edge.proxy.set(Mode::Deaf),
            _ => {}
        }
        sleep(lasts).await;
        // The answers that a deaf program did not hear are lost for good.
        if matches!(kind, Kind::Cut | Kind::Deaf) {
            edge.proxy.cut();
        }
        edge.proxy.set(Mode::Pass);
        self.end(mark);
        Ok(())
    }

    fn begin(&self, kind: Kind, target: &str) -> usize {
        let mut fired = self.lock();
        let target = target.to_owned();
        fired.push(Fired { kind, target, from: clock::now(), until: None });
        fired.len() - 1
    }

    fn end(&self, mark: usize) {
        self.lock()[mark].until = Some(clock::now());
    }
}

/// What cannot fail, as something that can.
fn pausing<S>(pause: fn(&S)) -> impl FnOnce(&mut S) -> Result<()> + Send {
    move |server| {
        pause(server);
        Ok(())
    }
}
