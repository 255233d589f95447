//! A cart on its way to an order: filled, changed, let go, left to itself, or checked out, perhaps when it holds nothing any more.
//! Whoever is not told what became of a request asks again; nothing is refused but what there is not enough of.

use domain::retry::RetryDelays;
use reqwest::Method;
use tokio::time::sleep;

use crate::client::{ANSWER_WITHIN, Client};
use crate::order::Order;
use crate::shop::{CART_TOKEN, Cart, CartEnd};
use crate::tally::Tally;

/// Where a cart is, and where it is checked out, from where orders are.
const CART: &str = "../cart";
/// Between two tries, and how many there are.
const AGAIN_AFTER: RetryDelays =
    RetryDelays { initial: std::time::Duration::from_millis(60), max: std::time::Duration::from_secs(1) };
const TRIES: u32 = 60;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Done,
    SoldOut,
    Unanswered,
}

impl Client {
    /// Sees a cart through to where it is to be checked out; `false`: it does not come to that.
    pub(crate) async fn push(&self, order: &Order, cart: &Cart) -> bool {
        let became = |what| self.tally.sale(|sales| sales.cart(what));
        for (after, body) in &cart.fillings {
            sleep(*after).await;
            match self.change(order.number, cart, Method::PUT, Some(body)).await {
                Reply::Done => {}
                Reply::SoldOut => {
                    self.tally.sale(|sales| sales.refuse(&order.takes));
                    became("refused");
                    return false;
                }
                Reply::Unanswered => {
                    Tally::count(&self.tally.given_up);
                    return false;
                }
            }
        }
        match cart.end {
            CartEnd::ChecksOut(after) => {
                sleep(after).await;
                return true;
            }
            CartEnd::LetGo => {
                self.change(order.number, cart, Method::DELETE, None).await;
                became("let go");
            }
            CartEnd::Left => became("left"),
        }
        Tally::count(&self.tally.not_wanted);
        false
    }

    async fn change(&self, number: u64, cart: &Cart, method: Method, body: Option<&String>) -> Reply {
        for tries in 1..=TRIES {
            let url = format!("{}/{CART}", self.urls[self.place(number, tries)]);
            let request = self.http.request(method.clone(), url).timeout(ANSWER_WITHIN);
            let request = request.bearer_auth(&self.tokens.customers).header(CART_TOKEN, &cart.token);
            let request = match body {
                Some(body) => request.header("content-type", "application/json").body(body.clone()),
                None => request,
            };
            match request.send().await.map(|answer| answer.status().as_u16()) {
                Ok(200 | 204) => return Reply::Done,
                Ok(409) => return Reply::SoldOut,
                // An earlier try of ours may have let it go.
                Ok(404) if method == Method::DELETE && tries > 1 => return Reply::Done,
                Ok(429 | 503) | Err(_) => {}
                Ok(status) => {
                    self.tally.complain(format!("the {method} of cart {number} was answered {status}"));
                    return Reply::Unanswered;
                }
            }
            if self.stop.or_stopped(sleep(AGAIN_AFTER.after(tries))).await.is_none() {
                break;
            }
        }
        Reply::Unanswered
    }
}
