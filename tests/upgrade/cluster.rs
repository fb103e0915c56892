//! Of a cluster's API the two objects that a pod needs before it leads: one Secret and one Lease, with resource versions. All else is not
//! there.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use executor_sdk::credentials::Credentials;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use crate::Result;

/// The key of the Secret that the operator's credentials are under.
pub(crate) const CREDENTIALS: &str = "credentials.json";

/// As the chart makes them: empty.
#[derive(Debug, Default)]
pub(crate) struct FakeCluster {
    objects: Mutex<Objects>,
}

#[derive(Debug, Default)]
struct Objects {
    version: u64,
    data: serde_json::Map<String, Value>,
    lease: Value,
}

// === impl FakeCluster ===

impl FakeCluster {
    /// With these credentials in the Secret.
    pub(crate) fn with(credentials: &Credentials) -> Self {
        let cluster = Self::default();
        let text = STANDARD.encode(credentials.print().as_slice());
        cluster.objects().data.insert(CREDENTIALS.to_owned(), text.into());
        cluster
    }

    /// Its API.
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        let cluster = Arc::clone(self);
        let answer = move |request: Request<Body>| {
            let cluster = Arc::clone(&cluster);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default());
                let (code, answer) =
                    cluster.objects().answer(&parts.method, parts.uri.path(), &body.unwrap_or_default());
                let mut answer = Response::new(Body::from(answer.to_string().into_bytes()));
                *answer.status_mut() = code;
                Ok::<_, Infallible>(answer)
            }
        };
        Client::new(service_fn(answer), "default")
    }

    /// What is kept in the Secret.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>> {
        let Some(text) = self.objects().data.get(CREDENTIALS).and_then(Value::as_str).map(str::to_owned) else {
            return Ok(None);
        };
        Credentials::parse(&STANDARD.decode(text)?).map(Some).map_err(|why| anyhow!(why))
    }

    /// Whether the Secret has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.objects().data.contains_key(key)
    }

    /// Takes a key of the Secret away, as a person does.
    pub(crate) fn forget(&self, key: &str) {
        let mut objects = self.objects();
        objects.version += 1;
        objects.data.remove(key);
    }

    /// How often the Lease was taken, and who holds it.
    pub(crate) fn lease(&self) -> (i64, String) {
        let spec = &self.objects().lease;
        let holder = spec["holderIdentity"].as_str().unwrap_or_default().to_owned();
        (spec["leaseTransitions"].as_i64().unwrap_or_default(), holder)
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Objects ===

impl Objects {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let is_lease = path.contains("/leases/");
        if !is_lease && !path.contains("/secrets/") {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        }
        let follows = body["metadata"]["resourceVersion"].as_str();
        if *method != Method::GET && follows.is_some_and(|version| version != self.version.to_string()) {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        match *method {
            Method::GET => {}
            Method::PUT if is_lease => self.write(|objects| objects.lease = body["spec"].clone()),
            Method::PATCH if !is_lease => self.write(|objects| {
                for (key, value) in body["data"].as_object().into_iter().flatten() {
                    objects.data.insert(key.clone(), value.clone());
                }
                objects.data.retain(|_, value| !value.is_null());
            }),
            _ => return failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
        let metadata = json!({ "name": "novacula-operator", "resourceVersion": self.version.to_string() });
        let object = if is_lease {
            json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": self.lease })
        } else {
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": self.data })
        };
        (StatusCode::OK, object)
    }

    fn write(&mut self, change: impl FnOnce(&mut Self)) {
        self.version += 1;
        change(self);
    }
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status =
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16() });
    (code, status)
}
