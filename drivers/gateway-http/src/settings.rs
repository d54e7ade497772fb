//! Settings of the whole cluster.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use rumormill_core::{errors::SettingError, io::Request};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::SMALL_BODY;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::report::{self, EffectiveSettings, Setting};

/// The value of a setting.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewValue {
    /// Text such as `200ms`, `64KiB` or `100`, or a whole number.
    value: SettingText,
}

#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum SettingText {
    Text(String),
    Number(u64),
}

/// The configuration in force on this node: its own, and the settings of the cluster.
#[utoipa::path(get, path = "/v1/settings", tag = "cluster", operation_id = "list_settings",
    responses((status = 200, description = "The settings", body = EffectiveSettings),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
) -> Result<Json<EffectiveSettings>, ApiError> {
    Ok(Json(
        gateway.calls.with(|node, _| report::settings(node)).await?,
    ))
}

/// One setting as it stands on this node.
#[utoipa::path(get, path = "/v1/settings/{name}", tag = "cluster", operation_id = "read_setting",
    params(("name" = String, Path, description = "The name, such as detector.probe_interval")),
    responses((status = 200, description = "The setting", body = Setting),
              (status = 404, description = "`unknown_setting`; `setting_renamed`, with the name that it has in `to`; `mode_not_built`, with the `mode`"),
              (status = 503, description = "`unavailable`")))]
pub(crate) async fn read(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
) -> Result<Json<Setting>, ApiError> {
    gateway.setting(name).await
}

/// Set a setting for the whole cluster; in force on every member as soon as it hears of it.
#[utoipa::path(put, path = "/v1/settings/{name}", tag = "cluster", operation_id = "write_setting",
    params(("name" = String, Path, description = "The name, such as detector.probe_interval")),
    request_body = NewValue,
    responses((status = 200, description = "The setting as it stands now", body = Setting),
              (status = 400, description = "`bad_json`, `bad_setting`: no such value, with what is expected; `setting_out_of_range`, with `min` and `max`"),
              (status = 404, description = "`unknown_setting`; `setting_renamed`, with the name that it has in `to`; `mode_not_built`, with the `mode`"),
              (status = 409, description = "`setting_conflict`: another setting excludes the value; `clock_ahead`"),
              (status = 413, description = "`value_too_large`: the body, with the limit"),
              (status = 415, description = "`unsupported_media_type`: send application/json"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn write(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Setting>, ApiError> {
    let new: NewValue = gateway.read_json(&headers, body, SMALL_BODY).await?;
    let value = match new.value {
        SettingText::Text(text) => text,
        SettingText::Number(number) => number.to_string(),
    };
    gateway.change(&name, Some(value)).await?;
    gateway.setting(name).await
}

/// Give a setting back to each member's own configuration.
#[utoipa::path(delete, path = "/v1/settings/{name}", tag = "cluster", operation_id = "delete_setting",
    params(("name" = String, Path, description = "The name, such as detector.probe_interval")),
    responses((status = 204, description = "The cluster sets it no more"),
              (status = 404, description = "`unknown_setting`; `setting_renamed`, with the name that it has in `to`; `mode_not_built`, with the `mode`"),
              (status = 409, description = "`clock_ahead`"),
              (status = 503, description = "`busy`, `store_stalled`, `leaving`, `stopping`, `halted`, `unavailable`")))]
pub(crate) async fn remove(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    gateway.change(&name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Gateway {
    async fn setting(&self, name: String) -> Result<Json<Setting>, ApiError> {
        let setting = self.calls.with(move |node, _| node.setting(&name)).await?;
        Ok(Json(setting?.into()))
    }

    async fn change(&self, name: &str, value: Option<String>) -> Result<(), ApiError> {
        let changes = vec![(name.to_string(), value)];
        let request = Request::ChangeSettings { changes };
        self.calls.request(request).await?;
        Ok(())
    }
}

impl From<SettingError> for ApiError {
    fn from(error: SettingError) -> Self {
        let message = error.to_string();
        let bad = |code| ApiError::new(StatusCode::BAD_REQUEST, code, message.clone());
        match error {
            SettingError::Unknown { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, "unknown_setting", message)
            }
            SettingError::Renamed { to, .. } => {
                ApiError::new(StatusCode::NOT_FOUND, "setting_renamed", message).with("to", to)
            }
            SettingError::ModeNotBuilt { mode, .. } => {
                ApiError::new(StatusCode::NOT_FOUND, "mode_not_built", message)
                    .with("mode", mode.as_str())
            }
            SettingError::Malformed { expected, .. } => {
                bad("bad_setting").with("expected", expected)
            }
            SettingError::OutOfRange { min, max, .. } => bad("setting_out_of_range")
                .with("min", min)
                .with("max", max),
            SettingError::Conflict { low, high } => {
                ApiError::new(StatusCode::CONFLICT, "setting_conflict", message)
                    .with("low", low)
                    .with("high", high)
            }
            SettingError::Write(error) => error.into(),
            _ => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
        }
    }
}
