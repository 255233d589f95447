//! Each endpoint is a lane with a limit of its own, and one that fails has no more than one request under way: so those that are dead
//! cost the others nothing but a look. For one that answers quickly more is claimed than is sent at once: so the next are sent while the
//! last are written down, and each transaction has many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom;
use runtime::secrets::Secrets;
use store::webhooks::Webhook;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::send::Form;

/// Faults in a row after which a lane has one request under way.
const FAULTS: u32 = 5;
/// Of one endpoint, so many times more than are sent at once, where each was taken so quickly: less than a second of waiting.
const AHEAD: usize = 7;
const QUICK: Duration = Duration::from_millis(100);

/// An endpoint, as far as this process sends to it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) url: Arc<str>,
    pub(super) secrets: Arc<[String]>,
    pub(super) form: Form,
    updated_at: OffsetDateTime,
    /// Claimed, and sent or waiting for that.
    pub(super) under_way: usize,
    /// Those that are sent. Closed, where no more are to be.
    pub(super) sending: Arc<Semaphore>,
    /// So many may wait.
    ahead: usize,
    /// In a row.
    faults: u32,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Of one lane.
    at_once: usize,
    lanes: HashMap<Uuid, Lane>,
}

impl Lanes {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, lanes: HashMap::new() }
    }

    pub(super) fn get_mut(&mut self, webhook: Uuid) -> Option<&mut Lane> {
        self.lanes.get_mut(&webhook)
    }

    /// From now on these are there, as they are set now.
    pub(super) fn set(&mut self, found: Vec<Webhook>, secrets: &Secrets) {
        self.lanes.retain(|id, lane| {
            let is_there = found.iter().any(|webhook| webhook.id == *id);
            if !is_there {
                lane.sending.close();
            }
            is_there
        });
        for webhook in found {
            let known = self.lanes.get(&webhook.id).map(|lane| lane.updated_at);
            if known == Some(webhook.updated_at) {
                continue;
            }
            if let Some(secrets) = open(secrets, &webhook) {
                let lane = self.lanes.entry(webhook.id).or_insert_with(|| Lane::new(self.at_once));
                lane.form =
                    webhook.back().map_or(Form::Standard, |dialect| Form::Platform(dialect.signature()));
                lane.url = webhook.url.into();
                lane.secrets = secrets;
                lane.updated_at = webhook.updated_at;
            }
        }
    }

    /// How many may be claimed for each, of as many as are `left` for all.
    pub(super) fn rooms(&self, mut left: usize) -> Vec<(Uuid, i64)> {
        let mut rooms = Vec::new();
        // Another sequence each time: where there is not room for all, each has its turn.
        let mut lanes: Vec<_> = self.lanes.iter().collect();
        lanes.shuffle(&mut rand::rng());
        for (id, lane) in lanes {
            let most = if lane.faults < FAULTS { self.at_once + lane.ahead } else { 1 };
            let room = most.saturating_sub(lane.under_way).min(left);
            if room > 0 && !lane.secrets.is_empty() {
                left -= room;
                rooms.push((*id, i64::try_from(room).unwrap_or(1)));
            }
        }
        rooms
    }

    /// One is not under way any more, and was not sent.
    pub(super) fn unsent(&mut self, webhook: Uuid) {
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.under_way = lane.under_way.saturating_sub(1);
            lane.ahead = 0;
        }
    }

    /// One is not under way any more; if it was taken quickly, one more may wait.
    pub(super) fn sent(&mut self, webhook: Uuid, taken: bool, took: Duration) {
        let most = self.at_once * AHEAD;
        if let Some(lane) = self.lanes.get_mut(&webhook) {
            lane.under_way = lane.under_way.saturating_sub(1);
            lane.ahead = if taken && took < QUICK { (lane.ahead + 1).min(most) } else { 0 };
            lane.faults = if taken { 0 } else { lane.faults.saturating_add(1) };
        }
    }

    /// Nothing more is sent to it.
    pub(super) fn end(&mut self, webhook: Uuid) {
        if let Some(lane) = self.lanes.remove(&webhook) {
            lane.sending.close();
        }
    }

    /// Nothing more is sent to any.
    pub(super) fn close(&self) {
        self.lanes.values().for_each(|lane| lane.sending.close());
    }
}

impl Lane {
    /// Of an endpoint that nothing is known of yet.
    fn new(at_once: usize) -> Self {
        Self {
            url: "".into(),
            secrets: Arc::from([]),
            form: Form::Standard,
            updated_at: OffsetDateTime::UNIX_EPOCH,
            under_way: 0,
            sending: Arc::new(Semaphore::new(at_once)),
            ahead: 0,
            faults: 0,
        }
    }
}

fn open(secrets: &Secrets, webhook: &Webhook) -> Option<Arc<[String]>> {
    let purpose = runtime::secrets::webhook(&webhook.id.to_string(), webhook.platform.as_deref());
    let opened: Result<Vec<String>, _> =
        webhook.secrets.iter().map(|sealed| secrets.unseal(&purpose, sealed)).collect();
    match opened {
        Ok(secrets) => Some(secrets.into()),
        Err(error) => {
            tracing::error!(webhook = %webhook.id, %error, "a webhook's secret cannot be opened: nothing is sent to it");
            None
        }
    }
}
