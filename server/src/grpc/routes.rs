//! The two routers: every service behind its layers, and JSON and the pages, which are clients of the API's. Services are handed in by `run`, which knows what they stand on.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use tonic::service::RoutesBuilder;
use tonic_web::GrpcWebLayer;

use crate::grpc::layer::{self, Gatekeeper};
use crate::json;
use crate::supervise::Supervisor;
use crate::tls::gate::{self, Gate};
use crate::upload;
use crate::web::{self, Web, artifact, compress, status};

/// Largest message that a service takes unless it says otherwise: a batch of a thousand names is a tenth of it.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The reflection services, for grpcurl: v1, and v1alpha for its older builds.
///
/// # Errors
/// When the descriptors that were built in cannot be read.
pub fn add_reflection(services: &mut RoutesBuilder) -> Result<(), tonic_reflection::server::Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of refusals: without them grpcurl prints their bytes.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    services.add_service(builder().build_v1()?);
    services.add_service(builder().build_v1alpha()?);
    Ok(())
}

/// The API listener: gRPC, gRPC-Web and JSON behind authentication, pages beside them. What pages stream are tasks of `tasks`.
pub fn api(services: RoutesBuilder, keeper: Gatekeeper, status: status::Status, tasks: Supervisor) -> Router {
    let (app, limits) = (Arc::clone(&keeper.app), Arc::clone(&keeper.limits));
    let uploads = upload::receivers(Arc::clone(&app)).layer(from_fn_with_state(keeper.clone(), layer::authenticate));
    let api = services.routes().prepare().into_axum_router().layer(from_fn_with_state(keeper, layer::authenticate));
    let document = json::routes(&app.settings().server_version.to_string());
    let pages = web::routes(Web { app, limits, routes: api.clone(), tasks, draining: status.draining.clone() });
    api.clone()
        // Outside of authentication, so that browsers read its refusals, too; it answers what is no gRPC with 400, so that
        // JSON and pages are outside of it.
        .layer(GrpcWebLayer::new())
        .layer(from_fn_with_state(api, json::door))
        .merge(document)
        .layer(from_fn(compress::json))
        .merge(upload::routes(uploads))
        .merge(status::routes(status))
        .merge(pages)
        .fallback(nowhere)
        .layer(from_fn(layer::trace))
}

/// The executor listener: gRPC and artifacts behind the gate.
pub fn executors(services: RoutesBuilder, gate: Gate) -> Router {
    let artifacts = artifact::routes(Arc::clone(gate.enrolment.app()));
    services
        .routes()
        .prepare()
        .into_axum_router()
        .merge(artifacts)
        .fallback(unknown)
        .layer(from_fn_with_state(gate, gate::pass))
        .layer(from_fn(layer::trace))
}

/// People are told with a page.
async fn nowhere(request: Request) -> http::Response<axum::body::Body> {
    if layer::is_grpc(&request) { layer::unknown(&request) } else { web::nowhere(request.headers()) }
}

async fn unknown(request: Request) -> http::Response<axum::body::Body> {
    layer::unknown(&request)
}
