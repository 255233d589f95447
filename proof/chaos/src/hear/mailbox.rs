//! The mail server: it takes most of what comes, puts some off, and now and then hangs up before it has a mail, or after, without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use testbed::smtp::{Came, Does, Smtp};

use crate::known::REFUSED;

/// What happens to one mail in so many; the numbers below are each one of these.
const ONE_IN: u64 = 12;
/// Far too slow is one in so many.
const SLOW_ONE_IN: u64 = 60;
/// Longer than senders wait here.
const FAR_TOO_SLOW: Duration = Duration::from_millis(1_500);
/// The domain in each Message-ID.
pub(crate) const DOMAIN: &str = "house.example";

/// It.
#[derive(Debug)]
pub struct Mailbox {
    smtp: Smtp,
    mended: Arc<AtomicBool>,
}

impl Mailbox {
    /// Listens.
    pub async fn open() -> Result<Self> {
        let (mended, number) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
        let is_mended = Arc::clone(&mended);
        let manner = move |to: &str| {
            does(to, number.fetch_add(1, Ordering::Relaxed), is_mended.load(Ordering::SeqCst))
        };
        Ok(Self { smtp: Smtp::start_with(manner).await?, mended })
    }

    /// What followers are to be told of it.
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("SMTP_URL", format!("smtp://127.0.0.1:{}?tls=off", self.smtp.port)),
            ("MAIL_FROM", format!("Comanda <orders@{DOMAIN}>")),
            ("PUBLIC_URL", "https://orders.example.com".to_owned()),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(super) fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// All that it took.
    pub(super) fn came(&self) -> Vec<Came> {
        self.smtp.all()
    }
}

fn does(to: &str, number: u64, is_mended: bool) -> Does {
    if to.starts_with(REFUSED) {
        return Does::Says("550 5.1.1 nobody of that name");
    }
    match number % ONE_IN {
        _ if is_mended => Does::Takes,
        1 => Does::Says("451 4.7.1 later"),
        4 => Does::HangsUp,
        7 => Does::BreaksOff,
        10 if number % SLOW_ONE_IN == 10 => Does::TakesItsTime(FAR_TOO_SLOW),
        _ => Does::Takes,
    }
}
