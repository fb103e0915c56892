//! The API in JSON over HTTP/1.1 and 2: the same calls, the same refusals, HTTP's own codes.

use anyhow::Result;
use harness::catalog::Draft;
use harness::control_plane::{ControlPlane, ORGANIZATION};
use harness::fake_executor::FakeExecutor;
use proto::v1;
use proto::v1::Role;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

use crate::http::{Answer, Http, Version, pair};

const WEB_1: &str = "organizations/acme/executors/web-1";

fn name() -> Value {
    json!({ "name": WEB_1 })
}

#[tokio::test]
async fn a_call_in_json_is_the_same_call_over_both_versions_of_http() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (_, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    for http in pair(&plane, Role::Admin).await? {
        let answer = http.call("ExecutorService/GetExecutor", &name()).await?;
        assert_eq!((answer.code, &answer.body["version"]), (StatusCode::OK, &json!("1.0.0")), "{answer:?}");
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        assert!(!answer.header("x-request-id").is_empty());
    }
    let [one, two] = pair(&plane, Role::Admin).await?;
    let ask = json!({ "name": WEB_1, "target_version": "1.1.0", "ttl": "600s" });
    let requested = one.call("UpgradeService/RequestUpgrade", &ask).await?;
    assert_eq!(requested.code, StatusCode::OK, "{requested:?}");
    assert_eq!(requested.body["targetVersion"], "1.1.0");
    let desired = stream.desired().await?;
    assert!(requested.body["name"].as_str().is_some_and(|name| name.ends_with(&desired.attempt)), "{desired:?}");
    let attempt = json!({ "name": requested.body["name"] });
    let cancelled = two.call("UpgradeService/CancelUpgrade", &attempt).await?;
    assert_eq!(cancelled.body["outcome"], "OUTCOME_CANCELLED", "{cancelled:?}");
    plane.stop().await
}

#[tokio::test]
async fn each_class_of_refusal_has_its_code_of_http_and_says_its_reason() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (_, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let [member, admin] = [
        Http::of(&plane, Some(Role::Member), Version::One).await?,
        Http::of(&plane, Some(Role::Admin), Version::Two).await?,
    ];
    let stranger = Http::of(&plane, None, Version::One).await?;
    let nobody = json!({ "name": "organizations/acme/executors/nobody" });
    let ask = json!({ "name": WEB_1, "targetVersion": "9.9.9" });
    let organization = json!({ "organizationId": ORGANIZATION });
    let root = Http::of(&plane, Some(Role::InstallationAdmin), Version::Two).await?;
    let cases = [
        (&stranger, "ExecutorService/GetExecutor", &name(), 401, "unauthenticated", "TOKEN_INVALID"),
        (&member, "UpgradeService/RequestUpgrade", &ask, 403, "permission_denied", "ROLE_REQUIRED"),
        (&member, "ExecutorService/GetExecutor", &nobody, 404, "not_found", "NOT_FOUND"),
        (&admin, "UpgradeService/RequestUpgrade", &ask, 409, "failed_precondition", "VERSION_NOT_AVAILABLE"),
        (&root, "OrganizationService/CreateOrganization", &organization, 409, "already_exists", "ALREADY_EXISTS"),
        (&member, "ExecutorService/GetExecutor", &json!({}), 400, "invalid_argument", "INVALID_ARGUMENT"),
    ];
    for (http, rpc, body, status, code, reason) in cases {
        let answer = http.call(rpc, body).await?;
        assert_eq!((answer.code.as_u16(), answer.reason()), (status, reason), "{rpc}: {answer:?}");
        assert_eq!(answer.body["code"], code, "{rpc}");
        assert!(answer.body["message"].as_str().is_some_and(|message| !message.is_empty()), "{rpc}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
    }
    let wrong = member.call("ExecutorService/GetExecutor", &json!({ "name": "web-1" })).await?;
    assert_eq!(wrong.detail("google.rpc.BadRequest")["fieldViolations"][0]["field"], "name", "{wrong:?}");
    plane.stop().await
}

#[tokio::test]
async fn the_node_query_of_an_executor_out_of_support_answers_409() -> Result<()> {
    let plane =
        ControlPlane::start_with(|config| config.settings.server_version = "3.0.0".parse().expect("a version")).await?;
    let (_, _stream) = FakeExecutor::online(&plane, "web-1", "1.9.0").await?;
    for http in pair(&plane, Role::Member).await? {
        let answer = http.call("ExecutorService/ListNodes", &json!({ "parent": WEB_1 })).await?;
        assert_eq!((answer.code, answer.reason()), (StatusCode::CONFLICT, "OUT_OF_SUPPORT"), "{answer:?}");
        assert_eq!(answer.body["code"], "failed_precondition");
    }
    plane.stop().await
}

#[tokio::test]
async fn what_is_no_such_message_is_refused_with_what_is_wrong() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for http in pair(&plane, Role::Member).await? {
        for (body, said) in [
            (r#"{"nmae":"x"}"#, "'nmae'"),
            (r#"{"name":"#, "EOF"),
            ("", "is empty"),
            ("name=x", "expected"),
            (r#"{"name":["x"]}"#, "invalid type"),
        ] {
            let answer = Answer::of(http.post("ExecutorService/GetExecutor").body(body).send().await?).await?;
            assert_eq!(
                (answer.code, answer.reason()),
                (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
                "{body}: {answer:?}"
            );
            assert!(answer.body["message"].as_str().is_some_and(|text| text.contains(said)), "{body}: {answer:?}");
        }
        let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
        let answer = Answer::of(http.post("ExecutorService/GetExecutor").body(large).send().await?).await?;
        assert_eq!(answer.code, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    }
    plane.stop().await
}

#[tokio::test]
async fn what_is_not_offered_is_refused_before_it_is_read() -> Result<()> {
    let plane = ControlPlane::start().await?;
    const GET: &str = "/novacula.v1.ExecutorService/GetExecutor";
    for http in pair(&plane, Role::Member).await? {
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "application/connect+json", "multipart/form-data"]
        {
            let request = http.ask(Method::POST, GET).header("content-type", kind).body("{}");
            let answer = Answer::of(request.send().await?).await?;
            assert_eq!(answer.code, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}: {answer:?}");
            assert!(answer.header("accept-post").contains("application/json"), "{kind}");
        }
        let answer = Answer::of(http.ask(Method::GET, &format!("{GET}?message=%7B%7D")).send().await?).await?;
        assert_eq!((answer.code, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
        let stream = http.call("UpgradeService/WatchAttempt", &name()).await?;
        assert_eq!(stream.code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(stream.body["message"].as_str().is_some_and(|text| text.contains("gRPC-Web")), "{stream:?}");
        let packed = http.post("ExecutorService/GetExecutor").header("content-encoding", "gzip").body("{}");
        assert_eq!(packed.send().await?.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let unknown = http.call("ExecutorService/Nothing", &json!({})).await?;
        assert_eq!((unknown.code, &unknown.body["code"]), (StatusCode::NOT_IMPLEMENTED, &json!("unimplemented")));
        let foreign = http.post("SyncService/Probe").body("{}").send().await?;
        assert_eq!(foreign.status(), StatusCode::NOT_FOUND, "executors' own");
    }
    plane.stop().await
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read_and_slowed_down() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let stranger = Http::of(&plane, None, Version::Two).await?;
    let mut refused = Vec::new();
    for _ in 0..80 {
        // Not JSON: whoever is let in would be told so.
        let request = stranger.post("ExecutorService/GetExecutor").body("no JSON at all");
        refused.push(Answer::of(request.send().await?).await?);
    }
    assert!(refused.iter().all(|answer| matches!(answer.reason(), "TOKEN_INVALID" | "RATE_LIMITED")), "{refused:?}");
    let limited = refused.iter().find(|answer| answer.reason() == "RATE_LIMITED").expect("80 are more than the burst");
    assert_eq!(limited.code, StatusCode::TOO_MANY_REQUESTS);
    assert!(limited.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{limited:?}");
    plane.stop().await
}

#[tokio::test]
async fn a_cookie_opens_nothing_here() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Http::of(&plane, Some(Role::Owner), Version::One).await?;
    let stranger = Http::of(&plane, None, Version::One).await?;
    let cookie = format!("__Host-novacula={}", owner.token().expect("a token"));
    let request = stranger.post("OrganizationService/WhoAmI").header("cookie", cookie.clone()).body("{}");
    assert_eq!(request.send().await?.status(), StatusCode::UNAUTHORIZED);
    // Beside a bearer it changes nothing of who calls.
    let member = Http::of(&plane, Some(Role::Member), Version::One).await?;
    let request = member.post("OrganizationService/WhoAmI").header("cookie", cookie).body("{}");
    let answer = Answer::of(request.send().await?).await?;
    assert_eq!(answer.body["token"]["role"], "ROLE_MEMBER", "{answer:?}");
    plane.stop().await
}

#[tokio::test]
async fn bare_protobuf_and_connects_own_headers_are_understood() -> Result<()> {
    use prost::Message as _;
    let plane = ControlPlane::start().await?;
    let member = Http::of(&plane, Some(Role::Member), Version::One).await?;
    let path = "/novacula.v1.OrganizationService/WhoAmI";
    let request = member.ask(Method::POST, path).header("content-type", "application/proto").body(Vec::new());
    let answer = request.send().await?;
    assert_eq!(
        (answer.status(), answer.headers()["content-type"].as_bytes()),
        (StatusCode::OK, &b"application/proto"[..])
    );
    let who = v1::WhoAmIResponse::decode(answer.bytes().await?)?;
    assert_eq!(who.organization, "organizations/acme");

    let json = || member.post("OrganizationService/WhoAmI").body("{}");
    let connect = json().header("connect-protocol-version", "1").header("connect-timeout-ms", "10000").send().await?;
    assert_eq!(connect.status(), StatusCode::OK);
    // A body that never ends is inside the deadline, too.
    let endless = Body::wrap_stream(tokio_stream::pending::<std::io::Result<Vec<u8>>>());
    let two = Http::of(&plane, Some(Role::Member), Version::Two).await?;
    let list = two.post("ExecutorService/ListExecutors").body(endless);
    let late = Answer::of(list.header("connect-timeout-ms", "50").send().await?).await?;
    assert_eq!((late.code, &late.body["code"]), (StatusCode::GATEWAY_TIMEOUT, &json!("deadline_exceeded")), "{late:?}");
    for (header, value) in [("connect-timeout-ms", "soon"), ("connect-protocol-version", "2")] {
        let answer = Answer::of(json().header(header, value).send().await?).await?;
        assert_eq!(answer.code, StatusCode::BAD_REQUEST, "{header}");
        assert_eq!(answer.detail("google.rpc.BadRequest")["fieldViolations"][0]["field"], header);
    }
    plane.stop().await
}

#[tokio::test]
async fn the_openapi_document_is_there_without_a_token_and_probes_are_too() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let stranger = Http::of(&plane, None, Version::One).await?;
    let answer = Answer::of(stranger.ask(Method::GET, "/openapi.json").send().await?).await?;
    assert_eq!(answer.code, StatusCode::OK);
    assert_eq!((&answer.body["openapi"], &answer.body["info"]["version"]), (&json!("3.1.0"), &json!("1.5.0")));
    let health = stranger.ask(Method::POST, "/grpc.health.v1.Health/Check").header("content-type", "application/json");
    let answer = Answer::of(health.body("{}").send().await?).await?;
    assert_eq!(answer.body["status"], "SERVING", "{answer:?}");
    plane.stop().await
}
