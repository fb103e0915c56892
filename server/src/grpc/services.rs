//! The services of the API listener, each with its limits, joined for `run`.

use std::sync::Arc;

use proto::v1::event_service_server::EventServiceServer;
use proto::v1::executor_service_server::ExecutorServiceServer;
use proto::v1::organization_service_server::OrganizationServiceServer;
use proto::v1::release_service_server::ReleaseServiceServer;
use proto::v1::upgrade_service_server::UpgradeServiceServer;
use tonic::service::RoutesBuilder;

use crate::app::App;
use crate::grpc::release;
use crate::grpc::routes::MAX_MESSAGE_BYTES;
use crate::grpc::wire::Service;
use crate::supervise::Supervisor;

/// Adds them all. Watches are tasks of `tasks` and end as soon as it stops, so that a server that goes away waits for none.
pub fn add(services: &mut RoutesBuilder, app: &Arc<App>, tasks: &Supervisor) {
    let service = Service::new(Arc::clone(app), tasks.clone());
    services.add_service(ExecutorServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    services.add_service(UpgradeServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    services.add_service(OrganizationServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    services.add_service(EventServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    services.add_service(ReleaseServiceServer::new(service).max_decoding_message_size(release::MAX_MESSAGE_BYTES));
}
