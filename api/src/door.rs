//! The door: it answers from the first moment on. While the api waits for its database it says 503 and that it is starting;
//! then the api itself answers, on the same connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use axum::Router;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use axum::routing::{any, get};
use hyper::body::Incoming;
use runtime::serve::{ServeLimits, serve};
use runtime::tasks::Stop;
use tokio::net::TcpListener;
use tokio::sync::SetOnce;
use tower::Service;

use crate::config::ApiSettings;
use crate::http::error::ApiError;
use crate::http::health;
use crate::http::observe::observed;
use crate::http::pages;
use crate::router::App;

/// Where clients come in; clones are the same door.
#[derive(Debug, Clone)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: SetOnce<App>,
    starting: Router,
}

impl Default for Door {
    fn default() -> Self {
        let later = any(async || ApiError::unavailable("the service is starting").into_response());
        let starting = Router::new()
            .route("/health", get(health::health).layer(observed("/health")))
            .route("/ping", get(pages::ping).layer(observed("/ping")))
            .fallback_service(later.layer(observed("unmatched")));
        Self(Arc::new(Inner { app: SetOnce::new(), starting }))
    }
}

impl Door {
    /// Answers whoever comes to `listener`, until `stop`.
    pub async fn serve(self, listener: TcpListener, settings: ApiSettings, stop: Stop) -> Result<()> {
        let (linger, keep_alive) = (settings.api_linger, settings.api_keep_alive);
        let limits = ServeLimits { linger, keep_alive, ..ServeLimits::default() };
        serve(listener, self, limits, stop).await;
        Ok(())
    }

    /// Runs `then` as soon as the api itself answers, and `others` until they end: what one prints of it is true.
    pub async fn once_open<T>(self, then: impl FnOnce(), others: impl Future<Output = T>) -> T {
        let told = async {
            self.0.app.wait().await;
            then();
            // Writers end when the last door is gone.
            drop(self);
            std::future::pending().await
        };
        tokio::select! {
            outcome = others => outcome,
            outcome = told => outcome,
        }
    }

    /// From now on the api itself answers.
    pub(crate) fn open(&self, app: App) {
        // A door is opened once.
        let _ = self.0.app.set(app);
    }
}

impl Service<Request<Incoming>> for Door {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    /// Routers are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match self.0.app.get() {
            Some(app) => app.answer(request),
            None => self.0.starting.clone().call(request),
        }
    }
}
