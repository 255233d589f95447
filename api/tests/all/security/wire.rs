//! What a stranger may put on the wire, byte by byte.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use testbed::people::{manager, of, token};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::people::{PASSWORD, ask, embedded, told};

/// Sends these bytes and reads what comes until the connection ends, which the last request has to ask for.
async fn raw(api: &Pipeline, bytes: &str) -> Result<String> {
    let mut stream = TcpStream::connect(api.client.api.trim_start_matches("http://")).await?;
    stream.write_all(bytes.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let ended = tokio::time::timeout(Duration::from_secs(20), read).await.context("it never ended")?;
    // Who is cut off in the middle of what he sends may read no end.
    let _ = ended;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn no_request_is_hidden_in_another_ones_body() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let ping = "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let post = |headers: &str, rest: &str| {
        format!(
            "POST /api/v1/auth/logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{rest}"
        )
    };
    for (what, headers) in [
        ("two lengths", "Content-Length: 0\r\nContent-Length: 5"),
        ("two lengths in one", "Content-Length: 0, 5"),
        ("a length with a sign", "Content-Length: +5"),
        ("a length below nothing", "Content-Length: -1"),
        ("a length in hexadecimal", "Content-Length: 0x5"),
        ("a length that is too long", "Content-Length: 99999999999999999999999"),
        ("a name with a space", "Content-Length : 5"),
        ("a line that goes on", "X-A: b\r\n Content-Length: 5"),
        ("an encoding that is none", "Transfer-Encoding: xchunked"),
        ("an encoding in the wrong place", "Transfer-Encoding: chunked, identity"),
        ("an encoding of an old version", "Transfer-Encoding: chunked\r\nX: HTTP/1.0"),
        ("a name with a NUL", "X-\0: b"),
        ("a value with a NUL", "X-A: b\0c"),
    ] {
        let mut request = post(headers, ping);
        if what.ends_with("version") {
            request = request.replacen("HTTP/1.1", "HTTP/1.0", 1);
        }
        let answer = raw(&api, &request).await?;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
            "{what}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: the connection is over: {answer}");
        assert!(!answer.contains("pong"), "{what}: {answer}");
    }
    // Both at once: the encoding counts, in either order, as RFC 9112 (6.3) has it; and whatever follows on that connection
    // is no request any more.
    for headers in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", 5 + ping.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}", 5 + ping.len()),
    ] {
        let answer = raw(&api, &post(&headers, &format!("2\r\n{{}}\r\n0\r\n\r\n{ping}"))).await?;
        assert!(
            answer.starts_with("HTTP/1.1 422 ") && answer.contains("\r\nconnection: close"),
            "{headers}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{headers}: {answer}");
        assert!(!answer.contains("pong"), "{headers}: {answer}");
    }
    api.stop().await
}

#[tokio::test]
async fn other_methods_are_none_and_nothing_is_echoed() -> Result<()> {
    let (_database, api) = crate::api().await?;
    for (method, target) in [
        ("TRACE", "/api/v1/orders"),
        ("TRACE", "/"),
        ("TRACK", "/api/v1/orders"),
        ("CONNECT", "example.com:443"),
        ("CONNECT", "/api/v1/orders"),
        ("PROPFIND", "/api/v1/orders"),
        ("DELETE", "/api/v1/orders"),
        ("GET", "http://evil.example.com/api/v1/users"),
        ("OPTIONS", "*"),
    ] {
        let secret = "Cookie: hunter2\r\nX-HTTP-Method-Override: GET\r\nConnection: close";
        let answer = raw(&api, &format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{secret}\r\n\r\n")).await?;
        let status: u16 = answer.get(9..12).context("a status")?.parse()?;
        assert!((400..500).contains(&status), "{method} {target}: {answer}");
        assert!(!answer.contains("hunter2") && !answer.contains("evil"), "{method} {target}: {answer}");
    }
    api.stop().await
}

#[tokio::test]
async fn no_header_of_an_answer_is_anybodys_but_ours() -> Result<()> {
    let (_database, api) = crate::api().await?;
    let order = Client::an_order().to_string();
    let token = manager()?;
    let evil = "Host: evil.example.com\r\nX-Forwarded-Host: evil.example.com\r\nX-Forwarded-Proto: ftp\r\nForwarded: host=evil.example.com";
    let own = format!(
        "{evil}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}",
        order.len()
    );
    let placed =
        raw(&api, &format!("POST /api/v1/orders HTTP/1.1\r\n{own}\r\nConnection: close\r\n\r\n{order}"))
            .await?;
    assert!(
        placed.starts_with("HTTP/1.1 202 ") && placed.contains("\r\nlocation: /api/v1/orders/"),
        "{placed}"
    );
    assert!(!placed.contains("evil"), "{placed}");
    for path in [
        "/docs",
        "/docs/",
        "//evil.example.com/",
        "//evil.example.com/docs",
        "/docs//evil.example.com/..",
        "/%5cevil.example.com",
        "/",
    ] {
        let answer =
            raw(&api, &format!("GET {path} HTTP/1.1\r\n{evil}\r\nConnection: close\r\n\r\n")).await?;
        let leads = answer.lines().find_map(|line| line.strip_prefix("location: "));
        assert!(leads.is_none_or(|to| to.starts_with("/docs/")), "{path}: {leads:?}");
    }
    // What comes back of a request is its id, and that is letters, digits and a few signs.
    let url = format!("{}/ping", api.client.api);
    for id in ["a\tb", "a b", "a,b", "<script>", "a;b", "é", "%0d%0aSet-Cookie:x"] {
        let answer = api.client.http.get(&url).header("x-request-id", id.as_bytes()).send().await?;
        let back = answer.headers()["x-request-id"].to_str()?.to_owned();
        assert!(back != id || id.chars().all(|c| c.is_ascii_graphic()), "{id:?}: {back:?}");
        assert!(answer.headers().keys().all(|name| name != "set-cookie"), "{id:?}");
    }
    for path in
        ["/api/v1/orders/a%0d%0aSet-Cookie:%20x=1", "/problems/%0d%0aSet-Cookie:x", "/docs/%0d%0aX-Evil:1"]
    {
        let answer = api.client.http.get(format!("{}{path}", api.client.api)).send().await?;
        assert_eq!(answer.status(), 404, "{path}");
        assert!(!answer.headers().contains_key("set-cookie") && !answer.headers().contains_key("x-evil"));
    }
    api.stop().await
}

/// A browser on the machine where guests are let in, with a stranger's page open.
#[tokio::test]
async fn no_page_of_a_strangers_comes_in_by_the_guests_door() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.guests = true;
    let api = Pipeline::start(&database, options).await?;
    let here = api.client.api.trim_start_matches("http://");
    let (_, port) = here.split_once(':').context("a port")?;
    let order = Client::an_order().to_string();
    let place = |to: &str, hosts: &str, headers: &str, kind: &str| {
        let length = order.len();
        format!(
            "POST {to}/api/v1/orders HTTP/1.1\r\n{hosts}\r\n{headers}Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{order}"
        )
    };
    let id = api.client.order(&Client::an_order()).await?;
    let read =
        |host: &str| format!("GET /api/v1/orders/{id} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let json = "application/json";
    for host in [here.to_owned(), format!("localhost:{port}")] {
        let placed = raw(&api, &place("", &format!("Host: {host}"), "", json)).await?;
        assert!(placed.starts_with("HTTP/1.1 202 "), "{host}: {placed}");
        let answer = raw(&api, &read(&host)).await?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    // The page's own name leads here by now; a browser says it nevertheless.
    let theirs = format!("shop.example.com:{port}");
    for (what, request) in [
        ("places", place("", &format!("Host: {theirs}"), "", json)),
        (
            "places, by a whole address",
            place(&format!("http://{theirs}"), &format!("Host: {here}"), "", json),
        ),
        ("places, by two names", place("", &format!("Host: {here}\r\nHost: {theirs}"), "", json)),
        ("reads", read(&theirs)),
        ("reads, by our name before its own", read(&format!("{here}.example.com"))),
    ] {
        let answer = raw(&api, &request).await?;
        assert!(
            answer.starts_with("HTTP/1.1 401 ") || answer.starts_with("HTTP/1.1 400 "),
            "{what}: {answer}"
        );
    }
    // Without that, a page may send what a form sends, and read no answer; and may not send JSON without asking first.
    let origin = "Origin: http://shop.example.com\r\n";
    let sent = raw(&api, &place("", &format!("Host: {here}"), origin, "text/plain")).await?;
    assert!(sent.starts_with("HTTP/1.1 415 "), "{sent}");
    let asked = format!(
        "OPTIONS /api/v1/orders HTTP/1.1\r\nHost: {here}\r\n{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\nConnection: close\r\n\r\n"
    );
    let told = raw(&api, &asked).await?;
    assert!(!told.to_lowercase().contains("access-control-allow"), "{told}");
    // A token is good by any name: this is about who is let in without one.
    let token = format!("Authorization: Bearer {}\r\n", manager()?);
    let placed = raw(&api, &place("", &format!("Host: {theirs}"), &token, json)).await?;
    assert!(placed.starts_with("HTTP/1.1 202 "), "{placed}");
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database.connect().await?).await?;
    assert_eq!(orders, 4, "one before, two by our names, one by a token");
    api.stop().await
}

#[tokio::test]
async fn answers_say_what_browsers_may_do_with_them_and_not_what_made_them() -> Result<()> {
    let (_database, api) = crate::api().await?;
    for (path, is_page) in [
        ("/", true),
        ("/problems", true),
        ("/problems/conflict", true),
        ("/docs/", true),
        ("/docs/index.html", true),
        ("/docs/swagger-ui-bundle.js", true),
        ("/openapi.json", true),
        ("/ping", false),
        ("/health", false),
        ("/nowhere", false),
        ("/api/v1/orders", false),
        ("/api/v1/orders/x", false),
        ("/api/v1/auth/jwks.json", false),
    ] {
        let answer =
            api.client.http.get(format!("{}{path}", api.client.api)).header("accept", "text/html,*/*");
        let answer = answer.send().await?;
        let said =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        assert_eq!(said("x-content-type-options"), "nosniff", "{path}");
        for name in ["server", "x-powered-by", "via"] {
            assert_eq!(said(name), "", "{path}: {name}");
        }
        if is_page {
            let policy = said("content-security-policy");
            for part in
                ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
            {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src"));
            assert!(scripts.is_none_or(|from| from.trim() == "script-src 'self'"), "{path}: {policy}");
            assert_eq!((said("x-frame-options"), said("referrer-policy")), ("DENY", "no-referrer"), "{path}");
        }
        // The documentation has no script of its own in its page: the policy would stop it.
        if path == "/docs/" {
            let page = answer.text().await?;
            assert!(
                page.split("<script").skip(1).all(|script| script.trim_start().starts_with("src=\"./")),
                "{page}"
            );
        }
    }
    api.stop().await
}

#[tokio::test]
async fn the_documentation_leads_to_no_other_file() -> Result<()> {
    let (_database, api) = crate::api().await?;
    for path in [
        "/docs/../../../../../../etc/passwd",
        "/docs/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/docs//etc/passwd",
        "/docs/%2fetc%2fpasswd",
        "/docs/....//....//etc/passwd",
        "/docs/..%5c..%5cetc%5cpasswd",
        "/docs/%00",
        "/docs/%ff",
        "/docs/Cargo.toml",
        "/problems/..%2f..%2fetc%2fpasswd",
    ] {
        let answer =
            raw(&api, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await?;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("[package]"), "{path}: {answer}");
    }
    api.stop().await
}

#[tokio::test]
async fn what_is_for_operators_is_not_behind_the_public_door() -> Result<()> {
    let (_database, api) = crate::api().await?;
    for who in [String::new(), manager()?, token("root", "admin")?] {
        for path in [
            "/metrics",
            "/metrics/",
            "//metrics",
            "/internal/refunds",
            "/internal/clock",
            "/internal/sweeps/stale-orders",
            "/internal/channels/dishdash/prices",
            "/api/v1/internal/refunds",
            "/api/v1/../../internal/refunds",
            "/%69nternal/refunds",
        ] {
            for method in [Method::GET, Method::POST, Method::PUT] {
                let mut request = api.client.http.request(method, format!("{}{path}", api.client.api));
                if !who.is_empty() {
                    request = request.bearer_auth(&who);
                }
                assert_eq!(request.send().await?.status(), 404, "{path}");
            }
        }
    }
    api.stop().await
}

#[tokio::test]
async fn nothing_that_is_asked_is_ever_part_of_a_statement() -> Result<()> {
    let (database, api) = crate::api().await?;
    let (ada, manager) = (of("customer:customer_123")?, manager()?);
    let placed = ask(&api, Method::POST, "/orders", &ada, Some(Client::an_order())).await?;
    assert_eq!(placed.status(), 202);
    let injected = [
        "' OR '1'='1",
        "'; DROP TABLE orders; --",
        "\" OR \"\"=\"",
        "1) OR (1=1",
        "%' OR 1=1 --",
        "$1",
        "\\'; SELECT pg_sleep(5); --",
        "0; COPY orders TO PROGRAM 'id'",
        "{\"$ne\":null}",
    ];
    for text in injected {
        for name in [
            "customer_id",
            "channel",
            "status",
            "from",
            "to",
            "page",
            "page_size",
            "cursor",
            "sort",
            "order_by",
        ] {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            let query = query.append_pair(name, text).finish();
            for (path, who) in [("/orders", &manager), ("/orders/me", &ada)] {
                let answer = ask(&api, Method::GET, &format!("{path}?{query}"), who, None).await?;
                let status = answer.status().as_u16();
                let body: Value = answer.json().await?;
                match status {
                    // Nobody's, or a parameter that nobody reads.
                    200 if ["customer_id", "channel"].contains(&name) => {
                        assert_eq!(body["orders"], json!([]), "{query}")
                    }
                    200 => assert!(["sort", "order_by"].contains(&name), "{query}"),
                    403 | 422 => {}
                    _ => panic!("{path}?{query}: {status} {body}"),
                }
                let told = body.to_string();
                assert!(
                    !told.contains("SQL") && !told.contains("syntax") && !told.contains("relation"),
                    "{told}"
                );
            }
        }
        let name: String =
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        for (method, path) in [
            (Method::GET, format!("/orders/{name}")),
            (Method::POST, format!("/orders/{name}/cancel")),
            (Method::PATCH, format!("/users/{name}")),
            (Method::DELETE, format!("/service-tokens/{name}")),
        ] {
            let admin = token("root", "admin")?;
            let status = ask(&api, method.clone(), &path, &admin, Some(json!({}))).await?.status();
            assert_eq!(status, 404, "{method} {path}");
        }
    }
    // A path that is no text at all.
    for path in
        ["/orders/%ff", "/orders/%ff/history", "/users/%c3%28", "/service-tokens/%ff", "/channels/%ff/orders"]
    {
        for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
            let answer = ask(&api, method.clone(), path, &manager, Some(json!({}))).await?;
            assert_eq!(answer.status(), 404, "{method} {path}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {path}");
        }
    }
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database.connect().await?).await?;
    assert_eq!(orders, 1, "it is still there, and alone");
    api.stop().await
}

#[tokio::test]
async fn no_json_is_too_much_for_us() -> Result<()> {
    let (_database, api) = embedded().await?;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
    let bodies = [
        ("deep lists", deep("[", "]")),
        ("deep objects", deep("{\"a\":", "}")),
        ("deep within a field", format!("{{\"email\":{}}}", deep("[", "]"))),
        // But for that, each of these would register somebody.
        ("a field twice", format!(r#"{{"email":"a@b.cc","email":"b@b.cc","password":"{PASSWORD}"}}"#)),
        (
            "a field twice, spelt otherwise",
            format!(r#"{{"email":"c@b.cc","\u0065mail":"d@b.cc","password":"{PASSWORD}"}}"#),
        ),
        ("a field twice, further in", r#"{"email":{"a":1,"a":2},"password":"x"}"#.to_owned()),
        ("a number beyond all", format!("{{\"email\":1{},\"password\":1e999999}}", "0".repeat(10_000))),
        ("half a character", r#"{"email":"\ud800","password":"x"}"#.to_owned()),
        ("a NUL", format!(r#"{{"email":"e@b.cc","name":"a\u0000b","password":"{PASSWORD}"}}"#)),
        (
            "very many fields",
            format!("{{{}\"x\":1}}", (0..50_000).map(|n| format!("\"f{n}\":1,")).collect::<String>()),
        ),
        ("a huge text", format!("{{\"email\":\"{}\",\"password\":\"x\"}}", "x".repeat(1_000_000))),
        ("a huge name", format!("{{\"{}\":1}}", "x".repeat(1_000_000))),
        ("a list", "[]".to_owned()),
        ("nothing", "null".to_owned()),
    ];
    for (what, body) in bodies {
        for path in ["/auth/register", "/auth/login", "/auth/refresh"] {
            let url = format!("{}/api/v1{path}", api.client.api);
            let request =
                api.client.http.post(url).header("content-type", "application/json").body(body.clone());
            let answer = request.send().await?;
            let status = answer.status();
            let told = answer.text().await?;
            // A log in tells nothing but that it was none.
            let none = path == "/auth/login" && status == 401;
            assert!(
                none || status == 400 || status == 422 || status == 413,
                "{what} to {path}: {status} {told}"
            );
            assert!(told.len() < 10_000_000, "{what}");
        }
    }
    let answer = ask(&api, Method::GET, "/orders/%00", "", None).await?;
    assert_eq!(told(answer).await?.0, 401);
    api.stop().await
}
