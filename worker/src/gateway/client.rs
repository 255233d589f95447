//! How a request reaches the gateway and its answer comes back whole: a pool of connections, and limits of time and size. What is
//! asked and what an answer means stands in the module above. All that requests have in common is prepared once. That is why this
//! is not reqwest, which parses its URL anew for each and nearly doubles the work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower::Service;
use url::{Position, Url};

/// Longest wait for a connection. A gateway that does not even accept is not looking at the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that rests longer is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a connection that rests is tried; after three tries without an answer it is closed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest body that is read; real ones have 200 bytes. What 1,024 requests in hand may hold is so 64 MiB, and as much of heads.
const MAX_BODY: usize = 64 << 10;
/// Past this a head is read no further (a read may end beyond it, at less than twice as much); real ones have 200 bytes in five lines.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 64;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no connection: nothing was sent.
    Unreachable,
    /// It was not there in time, or not whole.
    Timeout,
    /// The connection broke, or what came is no HTTP.
    Broken,
    /// It was longer than any should be.
    TooLong,
}

/// What a connection is read from and written to.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client of one server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    /// The server, and the path that those of all requests are below.
    base: Uri,
    /// What every request has: `Host` and `Accept`.
    headers: HeaderMap,
    timeout: Duration,
}

impl Client {
    /// A client of what is at `url`; `timeout` bounds each request as a whole.
    pub(super) fn new(url: Url, timeout: Duration) -> Result<Self> {
        // Only the first caller in a process installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ClientConfig::builder();
        let tls = if url.scheme() == "https" {
            tls.try_with_platform_verifier().context("cannot tell which certificates to trust")?
        } else {
            // None is ever looked at, and a machine without a CA bundle must start, too.
            tls.with_root_certificates(RootCertStore::empty())
        };
        Self::over(tls.with_no_client_auth(), url, timeout)
    }

    fn over(mut tls: ClientConfig, url: Url, timeout: Duration) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(HOST, url[Position::BeforeHost..Position::AfterPort].parse()?);
        let base = url[..Position::AfterPath].parse()?;

        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tcp = HttpConnector::new();
        // HTTPS begins with the same connection.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared by all addresses of the host, so that a dead one leaves time for the next.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE));
        tcp.set_keepalive_retries(Some(3));
        // It asks no environment for a proxy and follows no redirect: that would send a charge somewhere else. It does one thing
        // unasked: where a connection of the pool turns out to be closed before a byte of the request was given to it, the
        // request takes another connection. No gateway can have seen it, and its key is the same, so no money moves
        // twice. A request that was begun is never sent again from here.
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .build(Connector(Arc::new((tcp, tls).into())));
        Ok(Self { http, base, headers, timeout })
    }

    /// Where a request to `path` goes, which is below whatever path the server's URL has.
    pub(super) fn uri(&self, path: &str) -> Result<Uri> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(format!("{}{path}", self.base.path().trim_end_matches('/')).parse()?);
        Ok(Uri::from_parts(parts)?)
    }

    /// A request with what each has; who sends it adds headers of its own.
    pub(super) fn post(&self, uri: Uri, json: Option<String>) -> Request<Full<Bytes>> {
        let mut headers = self.headers.clone();
        if json.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else {
            // RFC 9110, 8.6: a POST without a body says so; some servers refuse it otherwise (411).
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        let mut request = Request::new(json.map(Full::from).unwrap_or_default());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }

    /// Sends it, and waits for the whole answer.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let answer = async {
            // An error of connecting, and no other, is certain to come before anything is sent.
            let unanswered = |error: legacy::Error| {
                if error.is_connect() { Failure::Unreachable } else { Failure::Broken }
            };
            let (head, body) = self.http.request(request).await.map_err(unanswered)?.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() { Failure::TooLong } else { Failure::Broken }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, answer).await.unwrap_or(Err(Failure::Timeout))
    }
}

/// Connects, and bounds all of it: the look-up of the name, the connection, TLS. A request clones it, hence the `Arc`.
#[derive(Debug, Clone)]
struct Connector(Arc<HttpsConnector<HttpConnector>>);

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = HttpsConnector::clone(&self.0).call(uri);
        Box::pin(async { tokio::time::timeout(CONNECT_TIMEOUT, connecting).await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        Client::new(Url::parse(url).unwrap(), Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn what_a_url_may_be_is_understood() {
        for (url, uri, host) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090/x", "127.0.0.1:9090"),
            ("http://Pay.Example:80/", "http://pay.example/x", "pay.example"),
            ("http://pay.example:443/a/", "http://pay.example:443/a/x", "pay.example:443"),
            ("http://[::1]:9090/a/b", "http://[::1]:9090/a/b/x", "[::1]:9090"),
            ("http://[::1]", "http://[::1]/x", "[::1]"),
            ("http://h//a b/?q=1#f", "http://h//a%20b/x", "h"),
            ("http://h//", "http://h/x", "h"),
            ("http://b\u{fc}cher.example", "http://xn--bcher-kva.example/x", "xn--bcher-kva.example"),
        ] {
            let client = client(url);
            assert_eq!(client.uri("/x").unwrap().to_string(), uri, "{url}");
            assert_eq!(client.headers[HOST], host, "{url}");
        }
    }

    /// A server that accepts a connection and then says nothing: as HTTPS begins with its answer, nothing is sent.
    #[tokio::test]
    async fn all_that_comes_before_a_request_is_sent_is_bounded() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("https://{}", silent.local_addr().unwrap())).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
        let client = Client::over(tls.with_no_client_auth(), url, Duration::from_secs(30)).unwrap();
        let uri = client.uri("/").unwrap();
        assert_eq!(client.send(client.post(uri, None)).await.unwrap_err(), Failure::Unreachable);
    }
}
