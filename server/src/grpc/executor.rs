//! `ExecutorService`.

use domain::Version;
use proto::convert::{self, field::to_timestamp, vocabulary};
use proto::v1;
use proto::v1::executor_service_server::ExecutorService;
use store::{ExecutorCount, NodeRecord};
use tonic::{Request, Response, Status};

use crate::app::executor::{Filter, Update};
use crate::app::watch::executor::ExecutorChange;
use crate::grpc::access;
use crate::grpc::error;
use crate::grpc::wire::{Answers, Service, done, executor, field, organization, page};

#[tonic::async_trait]
impl ExecutorService for Service {
    async fn get_executor(&self, request: Request<v1::GetExecutorRequest>) -> Result<Response<v1::Executor>, Status> {
        let caller = access::caller(&request)?;
        let name = field(convert::executor::name("name", &request.get_ref().name))?;
        let view = done(self.app.executor_get(&caller, &name).await)?;
        Ok(Response::new(executor(&view, self.app.settings())))
    }

    async fn list_executors(
        &self,
        request: Request<v1::ListExecutorsRequest>,
    ) -> Result<Response<v1::ListExecutorsResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = organization("parent", &request.parent)?;
        let filter: Filter = done(request.filter.parse())?;
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.executor_list(&caller, &parent, &filter, &page).await)?;
        Ok(Response::new(v1::ListExecutorsResponse {
            executors: listed.rows.iter().map(|view| executor(view, self.app.settings())).collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    async fn summarize_executors(
        &self,
        request: Request<v1::SummarizeExecutorsRequest>,
    ) -> Result<Response<v1::SummarizeExecutorsResponse>, Status> {
        let caller = access::caller(&request)?;
        let parent = organization("parent", &request.get_ref().parent)?;
        let counts = done(self.app.executor_count(&caller, &parent).await)?;
        let server_version = &self.app.settings().server_version;
        Ok(Response::new(v1::SummarizeExecutorsResponse {
            executors: counts.iter().map(|count| count.executors).sum(),
            groups: counts.into_iter().map(|count| group(count, server_version)).collect(),
        }))
    }

    type WatchExecutorsStream = Answers<v1::WatchExecutorsResponse>;

    async fn watch_executors(
        &self,
        request: Request<v1::WatchExecutorsRequest>,
    ) -> Result<Response<Self::WatchExecutorsStream>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = organization("parent", &request.parent)?;
        let filter: Filter = done(request.filter.parse())?;
        let changes = done(self.app.executor_watch(caller, parent, filter).await)?;
        let settings = self.app.settings().clone();
        Ok(Response::new(self.watch(changes, move |change| encode(change, &settings))))
    }

    async fn update_executor(
        &self,
        request: Request<v1::UpdateExecutorRequest>,
    ) -> Result<Response<v1::Executor>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let wire = request.executor.unwrap_or_default();
        let name = field(convert::executor::name("executor.name", &wire.name))?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let update = update(wire, &paths)?;
        let view = done(self.app.executor_update(&caller, &name, &update).await)?;
        Ok(Response::new(executor(&view, self.app.settings())))
    }

    async fn deactivate_executor(
        &self,
        request: Request<v1::DeactivateExecutorRequest>,
    ) -> Result<Response<v1::Executor>, Status> {
        let caller = access::caller(&request)?;
        let name = field(convert::executor::name("name", &request.get_ref().name))?;
        let view = done(self.app.executor_deactivate(&caller, &name).await)?;
        Ok(Response::new(executor(&view, self.app.settings())))
    }

    async fn activate_executor(
        &self,
        request: Request<v1::ActivateExecutorRequest>,
    ) -> Result<Response<v1::Executor>, Status> {
        let caller = access::caller(&request)?;
        let name = field(convert::executor::name("name", &request.get_ref().name))?;
        let view = done(self.app.executor_activate(&caller, &name).await)?;
        Ok(Response::new(executor(&view, self.app.settings())))
    }

    async fn delete_executor(
        &self,
        request: Request<v1::DeleteExecutorRequest>,
    ) -> Result<Response<v1::DeleteExecutorResponse>, Status> {
        let caller = access::caller(&request)?;
        let name = field(convert::executor::name("name", &request.get_ref().name))?;
        done(self.app.executor_delete(&caller, &name).await)?;
        Ok(Response::new(v1::DeleteExecutorResponse {}))
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = field(convert::executor::name("parent", &request.parent))?;
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.node_list(&caller, &parent, &page).await)?;
        let named = |row: NodeRecord| node(row, &request.parent);
        Ok(Response::new(v1::ListNodesResponse {
            nodes: listed.rows.into_iter().map(named).collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    async fn clear_hold(&self, request: Request<v1::ClearHoldRequest>) -> Result<Response<v1::Executor>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let name = field(convert::executor::name("name", &request.name))?;
        let version = field(convert::field::required("version", &request.version))?;
        let view = done(self.app.executor_clear_hold(&caller, &name, &version).await)?;
        Ok(Response::new(executor(&view, self.app.settings())))
    }
}

/// The fields that the mask names; all that may be changed, when it is empty.
fn update(wire: v1::Executor, paths: &[String]) -> Result<Update, Status> {
    let unknown = paths.iter().find(|path| !matches!(path.as_str(), "channel" | "labels"));
    if let Some(path) = unknown {
        let shown: String = path.chars().take(80).collect();
        return Err(error::field(
            "update_mask",
            format!("{shown:?} cannot be changed; name `channel`, `labels` or both"),
        ));
    }
    let named = |field: &str| paths.is_empty() || paths.iter().any(|path| path == field);
    let channel = match (named("channel"), vocabulary::channel(wire.channel)) {
        (false, _) => None,
        (true, Some(channel)) => Some(channel),
        // An empty mask means what is set (AIP-134); a mask that names the channel needs one.
        (true, None) if paths.is_empty() => None,
        (true, None) => {
            return Err(error::field("executor.channel", "is required when the mask names it: STABLE, BETA or DEV"));
        }
    };
    Ok(Update { channel, labels: named("labels").then(|| wire.labels.into_iter().collect()), etag: wire.etag })
}

fn encode(change: ExecutorChange, settings: &crate::app::Settings) -> v1::WatchExecutorsResponse {
    use v1::watch_executors_response::ChangeType;
    let (change_type, executor) = match change {
        ExecutorChange::Present(view) => (ChangeType::Present, Some(executor(&view, settings))),
        ExecutorChange::Removed { name, uid } => {
            let gone = v1::Executor { name: name.to_string(), uid: uid.to_string(), ..v1::Executor::default() };
            (ChangeType::Removed, Some(gone))
        }
        ExecutorChange::Synced => (ChangeType::Synced, None),
    };
    v1::WatchExecutorsResponse { change_type: change_type.into(), executor }
}

/// What it reports is foreign text, cleaned where it came in.
fn node(row: NodeRecord, executor: &str) -> v1::Node {
    v1::Node {
        node_name: row.name,
        executor: executor.to_owned(),
        platform: row.platform,
        kernel_version: row.kernel_version,
        os_image: row.os_image,
        kubelet_version: row.kubelet_version,
        ready: row.ready,
        report_time: Some(to_timestamp(row.report_time)),
    }
}

fn group(count: ExecutorCount, server_version: &Version) -> v1::summarize_executors_response::Group {
    v1::summarize_executors_response::Group {
        kind: count.kind.map_or(v1::Kind::Unspecified, v1::Kind::from).into(),
        out_of_support: count.version.as_ref().is_some_and(|version| version.is_out_of_support(server_version)),
        version: count.version.map(|version| version.to_string()).unwrap_or_default(),
        channel: v1::Channel::from(count.channel).into(),
        executors: count.executors,
    }
}
