//! What people do with an order after its 202: its customer adds to it, calls it off or pays anew, the kitchen takes it,
//! refuses it, moves it on or lets it lie. Everybody asks again as long as nobody says what became of it, under the same key, and
//! takes a 409 for an answer; what was promised is kept, to be compared in the end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use domain::order::status::OrderStatus;
use domain::retry::RetryDelays;
use serde::Deserialize;
use tokio::time::sleep;
use uuid::Uuid;

use crate::client::{ANSWER_WITHIN, BY_CHANNEL, Client};
use crate::life::{Then, Verdict};
use crate::order::{Order, paid_anew};
use crate::steps;
use crate::tally::What;

/// Between two tries of whoever is not answered, and of a kitchen whose order is not paid yet: growing, because thousands
/// who never slow down keep a machine that is behind from ever catching up.
const AGAIN_AFTER: RetryDelays =
    RetryDelays { initial: Duration::from_millis(300), max: Duration::from_secs(4) };
/// How often something is asked for that nobody answers, and how often the kitchen comes back: for half a minute.
const TRIES: u32 = 12;
/// Between two looks whether additions are settled.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often an order is paid anew whose additions are still being settled.
const PAYS: u32 = 10;

/// The answer to a request to do something with an order.
#[derive(Debug)]
enum Reply {
    /// Done, or done before.
    Done,
    /// No, and where the order stands.
    No(&'static str, OrderStatus),
    /// Nobody said.
    Unanswered,
}

/// What the kitchen met.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    /// It has no more to do.
    TheEnd,
    /// An order whose payment failed.
    Unpaid,
}

impl Client {
    /// Sees an order through the life that was rolled for it.
    pub(crate) async fn live(&self, order: &Order, id: Uuid) {
        let kitchen = async {
            if self.cook(order, id, true).await == Met::Unpaid
                && order.life.pays_anew
                && self.pay(order, id).await
            {
                self.cook(order, id, false).await;
            }
        };
        tokio::join!(self.add(order, id), self.call_off(order, id), self.tell(order), kitchen);
    }

    async fn add(&self, order: &Order, id: Uuid) {
        let (Some(body), Some(addition)) = (order.addition(), &order.life.addition) else { return };
        sleep(addition.after).await;
        self.told(
            order.number,
            id,
            What::Added,
            &self.insist(order.number, &format!("{id}/items"), Some(body)).await,
        );
    }

    /// By its customer, or by the channel that sent it.
    async fn call_off(&self, order: &Order, id: Uuid) {
        let Some(after) = order.life.cancelled_after else { return };
        sleep(after).await;
        match &order.document {
            None => self.cancel_now(order.number, id).await,
            Some(document) => {
                let reply = self.insist(order.number, BY_CHANNEL, Some(document.off())).await;
                self.told(order.number, id, What::Cancelled, &reply);
            }
        }
    }

    /// The channel says that it goes later. The kitchen may have begun.
    async fn tell(&self, order: &Order) {
        if let Some(document) = order.document.as_ref().filter(|document| document.is_moved) {
            self.insist(order.number, BY_CHANNEL, Some(document.moved())).await;
        }
    }

    /// Calls an order off.
    pub(crate) async fn cancel_now(&self, number: u64, id: Uuid) {
        self.told(number, id, What::Cancelled, &self.insist(number, &format!("{id}/cancel"), None).await);
    }

    /// Refuses an order, if it is paid.
    pub(crate) async fn reject_now(&self, number: u64, id: Uuid) {
        self.move_to(number, id, OrderStatus::Rejected, true).await;
    }

    /// Pays anew, once all additions are settled. Says whether it is being charged again.
    async fn pay(&self, order: &Order, id: Uuid) -> bool {
        let body = format!(r#"{{"payment_reference":"{}"}}"#, paid_anew(order.number));
        for _ in 0..PAYS {
            let reply = self.insist(order.number, &format!("{id}/payment"), Some(body.clone())).await;
            self.told(order.number, id, What::PaidAnew, &reply);
            match reply {
                Reply::Done => return true,
                Reply::No("charges_open", _) => sleep(LOOK_AGAIN_AFTER).await,
                Reply::No(..) | Reply::Unanswered => break,
            }
        }
        false
    }

    /// The kitchen's part, once the order is paid.
    async fn cook(&self, order: &Order, id: Uuid, first_time: bool) -> Met {
        use OrderStatus::{
            Accepted, Delivered, PaymentFailed, PaymentProcessing, Pending, Preparing, Ready, Rejected,
        };
        let Some((after, verdict)) = order.life.kitchen else { return Met::TheEnd };
        if first_time {
            sleep(after).await;
        }
        let (to, then): (OrderStatus, &[OrderStatus]) = match verdict {
            Verdict::Takes(Then::Rests) => (Accepted, &[]),
            Verdict::Takes(Then::Delivers) => (Accepted, &[Preparing, Ready, Delivered]),
            Verdict::Takes(Then::StepsBack) => (Accepted, &[Preparing, Accepted]),
            Verdict::Takes(Then::NobodyCame { .. }) => (Accepted, &[Preparing, Ready]),
            Verdict::Begins => (Preparing, &[]),
            Verdict::Rejects => (Rejected, &[]),
        };
        let fared = |how: String| self.tally.step(|steps| steps.kitchen(how));
        for visit in 1..=TRIES {
            match self.move_to(order.number, id, to, true).await {
                Reply::Done => {
                    fared("done".to_owned());
                    for to in then {
                        if !matches!(self.move_to(order.number, id, *to, false).await, Reply::Done) {
                            return Met::TheEnd;
                        }
                    }
                    if let Verdict::Takes(Then::NobodyCame { refund }) = verdict {
                        self.no_show(order.number, id, refund).await;
                    }
                    return Met::TheEnd;
                }
                Reply::No(_, Pending | PaymentProcessing) => {
                    if self.stop.or_stopped(sleep(AGAIN_AFTER.after(visit))).await.is_none() {
                        break;
                    }
                }
                Reply::No(_, PaymentFailed) => {
                    fared("not paid".to_owned());
                    return Met::Unpaid;
                }
                Reply::No(_, at) => {
                    fared(format!("too late: {}", at.as_str()));
                    return Met::TheEnd;
                }
                Reply::Unanswered => break,
            }
        }
        fared("never told".to_owned());
        Met::TheEnd
    }

    /// Closes an order that nobody came for.
    async fn no_show(&self, number: u64, id: Uuid, refund: bool) {
        let body = Some(format!(r#"{{"refund":{refund}}}"#));
        let reply = self.insist(number, &format!("{id}/no-show"), body).await;
        self.told(number, id, What::Moved(OrderStatus::Cancelled), &reply);
    }

    async fn move_to(&self, number: u64, id: Uuid, to: OrderStatus, first: bool) -> Reply {
        let reply = match to {
            OrderStatus::Accepted if first => self.insist(number, &format!("{id}/accept"), None).await,
            OrderStatus::Rejected => {
                let body = r#"{"reason":"out of buns"}"#.to_owned();
                self.insist(number, &format!("{id}/reject"), Some(body)).await
            }
            _ => {
                let body = format!(r#"{{"status":"{}","reason":"as it goes"}}"#, to.as_str());
                self.insist(number, &format!("{id}/status"), Some(body)).await
            }
        };
        self.told(number, id, What::Moved(to), &reply);
        reply
    }

    fn told(&self, number: u64, id: Uuid, what: What, reply: &Reply) {
        if matches!(reply, Reply::Done) {
            self.tally.told(id, number, what);
        }
    }

    /// Asks for something until somebody says what became of it.
    async fn insist(&self, number: u64, path: &str, body: Option<String>) -> Reply {
        let (step, since) = (steps::name(path), Instant::now());
        for tries in 1..=TRIES {
            match self.ask_once(number, path, body.clone(), tries).await {
                Ok(reply) => {
                    self.tally.step(|steps| steps.answered(step, since.elapsed()));
                    return reply;
                }
                Err(status @ (0 | 429 | 503)) => self.tally.step(|steps| steps.unanswered(step, status)),
                Err(status) => {
                    self.tally.complain(format!("{path} of order {number} was answered {status}"));
                    break;
                }
            }
            if self.stop.or_stopped(sleep(AGAIN_AFTER.after(tries))).await.is_none() {
                break;
            }
        }
        Reply::Unanswered
    }

    /// The answer, or the status of one that is none; 0: there was not any.
    async fn ask_once(
        &self,
        number: u64,
        path: &str,
        body: Option<String>,
        tries: u32,
    ) -> Result<Reply, u16> {
        let url = format!("{}/{path}", self.urls[self.place(number, tries)]);
        let request = if path.ends_with("/status") { self.http.put(url) } else { self.http.post(url) };
        let mut request = request
            .timeout(ANSWER_WITHIN)
            .bearer_auth(self.who(path))
            .header("idempotency-key", key(path, body.as_deref()));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.map_err(|_| 0_u16)?;
        match answer.status().as_u16() {
            200 | 202 if path == BY_CHANNEL => {
                read_order(&answer.bytes().await.map_err(|_| 0_u16)?).ok_or(200)
            }
            200 => Ok(Reply::Done),
            409 => read_refusal(&answer.bytes().await.map_err(|_| 0_u16)?).ok_or(409),
            status => Err(status),
        }
    }
}

impl Client {
    /// The token of whoever asks for such a thing: what is not the kitchen's is a customer's.
    fn who(&self, path: &str) -> &str {
        let of_kitchen =
            ["/accept", "/reject", "/status", "/no-show"].iter().any(|verb| path.ends_with(verb));
        if of_kitchen { &self.tokens.kitchen } else { &self.tokens.customers }
    }
}

/// Whoever asks for the same again means the same request: each is asked for once in a life.
fn key(path: &str, body: Option<&str>) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("{path} {:x}", hasher.finish())
}

/// Reads the order that a channel is shown: one that was rejected is off, too, and was not called off.
fn read_order(body: &[u8]) -> Option<Reply> {
    #[derive(Deserialize)]
    struct Order {
        status: String,
    }
    let order: Order = serde_json::from_slice(body).ok()?;
    match OrderStatus::parse(&order.status)? {
        OrderStatus::Rejected => Some(Reply::No("refused", OrderStatus::Rejected)),
        _ => Some(Reply::Done),
    }
}

/// Reads a 409. That it stands there already, or that the payment is there already, is a promise as good as a 200: an
/// earlier try of ours may have been carried out and its answer lost.
fn read_refusal(body: &[u8]) -> Option<Reply> {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    #[derive(Deserialize)]
    struct Body {
        current_status: Option<String>,
        errors: Vec<Problem>,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let code = body.errors.first()?.code.as_str();
    if code == "out_of_stock" {
        // Of more for an order nothing was taken, and one that is to be paid anew stays as it is.
        return Some(Reply::No("out_of_stock", OrderStatus::PaymentFailed));
    }
    let at = OrderStatus::parse(&body.current_status?)?;
    match code {
        // Of a new payment this says that one is under way, whosever it is.
        "same_status" if at == OrderStatus::PaymentProcessing => Some(Reply::No("same_status", at)),
        "same_status" | "duplicate_payment_reference" => Some(Reply::Done),
        "charges_open" => Some(Reply::No("charges_open", at)),
        _ => Some(Reply::No("refused", at)),
    }
}
