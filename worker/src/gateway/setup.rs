//! Whether the gateway takes us at all: told once when it does not, and once when it does again. In between, `Misconfigured` is
//! counted with the other outcomes.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::payment::AttemptAction;
use hyper::StatusCode;

use super::answer::{Answer, Asked};

/// What was refused the last time, by what was asked.
#[derive(Debug, Default)]
pub(super) struct Setup {
    wrong: [AtomicBool; AttemptAction::ALL.len()],
}

impl Setup {
    /// Notes an answer, and says aloud what has changed by it.
    pub(super) fn note(&self, action: AttemptAction, status: StatusCode, asked: &Asked) {
        let wrong = &self.wrong[action as usize];
        match asked {
            Err(Answer::Misconfigured { .. }) => {
                if !wrong.swap(true, Ordering::Relaxed) {
                    let (status, asked) = (status.as_u16(), path(action));
                    tracing::error!(
                        status,
                        asked,
                        "the gateway refuses us; payments wait and none fails: see GatewayMisconfigured in docs/runbooks.md"
                    );
                }
            }
            // Nobody was asked whether we may.
            Ok(Answer::TooMany { .. }) | Err(_) => {}
            // Looked at first: this is what nearly every payment comes to.
            Ok(_) if wrong.load(Ordering::Relaxed) => {
                if wrong.swap(false, Ordering::Relaxed) {
                    tracing::info!(asked = path(action), "the gateway takes us again");
                }
            }
            Ok(_) => {}
        }
    }
}

const fn path(action: AttemptAction) -> &'static str {
    match action {
        AttemptAction::Charge => "POST /v1/charges",
        AttemptAction::Void => "POST /v1/charges/by-key/{key}/void",
        AttemptAction::Refund => "POST /v1/refunds",
    }
}
