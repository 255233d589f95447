//! The broker inside one process: a bounded queue with the promises of the real one. It dies with the process,
//! which loses nothing: the sweep finds in PostgreSQL what was on its way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::message::PaymentsDue;
use domain::origin::Headers;
use tokio::sync::Notify;

use super::{Confirm, Delivery, Depth};

/// A queue; clones share it.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    capacity: usize,
    max_dead: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Message>,
    dead: VecDeque<Vec<u8>>,
}

#[derive(Debug, Clone)]
struct Message {
    bytes: Vec<u8>,
    headers: Headers,
    redelivered: bool,
}

/// Most poisoned messages kept to be looked at: enough to see a pattern. Of more, the oldest go.
const MAX_DEAD: usize = 1_000;

impl InProcess {
    /// A queue for `capacity` messages.
    pub fn new(capacity: usize) -> Self {
        Self::with_dead(capacity, MAX_DEAD)
    }

    /// One that keeps so many poisoned messages.
    pub fn with_dead(capacity: usize, max_dead: usize) -> Self {
        Self(Arc::new(Shared { queue: Mutex::default(), filled: Notify::new(), capacity, max_dead }))
    }

    /// Puts a message in, unless the queue is full.
    pub fn publish(&self, message: &PaymentsDue) -> Confirm {
        self.publish_with_headers(message.to_bytes(), message.headers())
    }

    /// Puts anything in, as a stranger might.
    pub fn publish_bytes(&self, bytes: Vec<u8>) -> Confirm {
        self.publish_with_headers(bytes, Headers::default())
    }

    /// The same with headers.
    pub fn publish_with_headers(&self, bytes: Vec<u8>, headers: Headers) -> Confirm {
        let mut queue = self.0.lock();
        if queue.waiting.len() >= self.0.capacity {
            return Confirm::Refused;
        }
        queue.waiting.push_back(Message { bytes, headers, redelivered: false });
        drop(queue);
        self.0.filled.notify_one();
        Confirm::Taken
    }

    pub(super) async fn next(&self) -> Delivery {
        loop {
            let filled = self.0.filled.notified();
            if let Some(delivery) = self.take() {
                return delivery;
            }
            filled.await;
        }
    }

    fn take(&self) -> Option<Delivery> {
        let mut queue = self.0.lock();
        let message = queue.waiting.pop_front()?;
        if !queue.waiting.is_empty() {
            // One wake-up may stand for several messages; pass it on.
            self.0.filled.notify_one();
        }
        drop(queue);
        Some(Delivery {
            message: PaymentsDue::read(&message.bytes, &message.headers),
            redelivered: message.redelivered,
            ticket: super::Ticket::InProcess(Ticket { message: Some(message), shared: Arc::clone(&self.0) }),
        })
    }

    /// What lies in the queue.
    pub fn depth(&self) -> Depth {
        let queue = self.0.lock();
        Depth { waiting: queue.waiting.len() as u64, dead: queue.dead.len() as u64 }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to acknowledge. Dropped unused, the message goes back to the head of the queue.
#[derive(Debug)]
pub struct Ticket {
    message: Option<Message>,
    shared: Arc<Shared>,
}

impl Ticket {
    pub(super) fn ack(mut self) {
        self.message = None;
    }

    pub(super) fn bury(mut self) {
        if let Some(message) = self.message.take() {
            let mut queue = self.shared.lock();
            if queue.dead.len() >= self.shared.max_dead {
                queue.dead.pop_front();
            }
            queue.dead.push_back(message.bytes);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.shared.lock().waiting.push_front(Message { redelivered: true, ..message });
            self.shared.filled.notify_one();
        }
    }
}
