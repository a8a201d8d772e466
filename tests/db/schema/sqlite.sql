CREATE TABLE alembic_version (
  version_num VARCHAR(32) NOT NULL, 
  CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE architectures (
  id INTEGER NOT NULL, 
  space_id INTEGER NOT NULL, 
  "key" TEXT NOT NULL, 
  decisions TEXT NOT NULL, 
  notation TEXT NOT NULL, 
  CONSTRAINT pk_architectures PRIMARY KEY (id), 
  CONSTRAINT fk_architectures_space_id FOREIGN KEY(space_id) REFERENCES spaces (id), 
  CONSTRAINT uq_architectures_space_id_key UNIQUE (space_id, "key")
);

CREATE TABLE artifacts (
  id INTEGER NOT NULL, 
  experiment_id INTEGER NOT NULL, 
  kind TEXT NOT NULL, 
  name TEXT NOT NULL, 
  sha256 TEXT NOT NULL, 
  size_bytes BIGINT NOT NULL, 
  number INTEGER, 
  meta TEXT NOT NULL, 
  created_at DOUBLE NOT NULL, 
  CONSTRAINT pk_artifacts PRIMARY KEY (id), 
  CONSTRAINT fk_artifacts_experiment_id_number FOREIGN KEY(experiment_id, number) REFERENCES trials (experiment_id, number) ON DELETE CASCADE, 
  CONSTRAINT fk_artifacts_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE
);

CREATE INDEX ix_artifacts_experiment_id_kind_name ON artifacts (experiment_id, kind, name);

CREATE INDEX ix_artifacts_experiment_id_number ON artifacts (experiment_id, number);

CREATE INDEX ix_artifacts_sha256 ON artifacts (sha256);

CREATE TABLE checkpoints (
  experiment_id INTEGER NOT NULL, 
  name TEXT NOT NULL, 
  artifact_id INTEGER NOT NULL, 
  CONSTRAINT pk_checkpoints PRIMARY KEY (experiment_id, name), 
  CONSTRAINT fk_checkpoints_artifact_id FOREIGN KEY(artifact_id) REFERENCES artifacts (id) ON DELETE CASCADE, 
  CONSTRAINT fk_checkpoints_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE
);

CREATE INDEX ix_checkpoints_artifact_id ON checkpoints (artifact_id);

CREATE TABLE claims (
  experiment_id INTEGER NOT NULL, 
  owner TEXT NOT NULL, 
  pid INTEGER NOT NULL, 
  host TEXT NOT NULL, 
  started_at DOUBLE NOT NULL, 
  heartbeat_at DOUBLE NOT NULL, 
  CONSTRAINT pk_claims PRIMARY KEY (experiment_id), 
  CONSTRAINT fk_claims_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE
);

CREATE TABLE costs (
  architecture_id INTEGER NOT NULL, 
  device TEXT NOT NULL, 
  model_version TEXT NOT NULL, 
  metric TEXT NOT NULL, 
  value DOUBLE NOT NULL, 
  CONSTRAINT pk_costs PRIMARY KEY (architecture_id, device, model_version, metric), 
  CONSTRAINT fk_costs_architecture_id FOREIGN KEY(architecture_id) REFERENCES architectures (id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE INDEX ix_costs_device_metric ON costs (device, metric);

CREATE TABLE curves (
  experiment_id INTEGER NOT NULL, 
  number INTEGER NOT NULL, 
  name TEXT NOT NULL, 
  step BIGINT NOT NULL, 
  value DOUBLE, 
  CONSTRAINT pk_curves PRIMARY KEY (experiment_id, number, name, step), 
  CONSTRAINT fk_curves_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE TABLE details (
  trial_id INTEGER NOT NULL, 
  kind TEXT NOT NULL, 
  payload BLOB NOT NULL, 
  CONSTRAINT pk_details PRIMARY KEY (trial_id, kind), 
  CONSTRAINT fk_details_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
);

CREATE TABLE experiments (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
  uid TEXT NOT NULL, 
  name TEXT NOT NULL, 
  kind TEXT NOT NULL, 
  parent_id INTEGER, 
  group_name TEXT, 
  tags TEXT NOT NULL, 
  status TEXT NOT NULL, 
  space_id INTEGER NOT NULL, 
  strategy TEXT NOT NULL, 
  objectives TEXT NOT NULL, 
  constraints TEXT NOT NULL, 
  seed BIGINT NOT NULL, 
  spec TEXT NOT NULL, 
  versions TEXT NOT NULL, 
  info TEXT NOT NULL, 
  summary TEXT NOT NULL, 
  created_at DOUBLE NOT NULL, 
  finished_at DOUBLE, 
  elapsed_s DOUBLE NOT NULL, 
  CONSTRAINT fk_experiments_parent_id FOREIGN KEY(parent_id) REFERENCES experiments (id) ON DELETE CASCADE, 
  CONSTRAINT fk_experiments_space_id FOREIGN KEY(space_id) REFERENCES spaces (id), 
  CONSTRAINT uq_experiments_name UNIQUE (name), 
  CONSTRAINT uq_experiments_uid UNIQUE (uid)
);

CREATE INDEX ix_experiments_group_name ON experiments (group_name);

CREATE INDEX ix_experiments_parent_id ON experiments (parent_id);

CREATE TABLE metric_sources (
  id INTEGER NOT NULL, 
  experiment_id INTEGER NOT NULL, 
  name TEXT NOT NULL, 
  unit TEXT NOT NULL, 
  direction TEXT NOT NULL, 
  split TEXT NOT NULL, 
  estimator TEXT NOT NULL, 
  fingerprint TEXT NOT NULL, 
  deterministic BOOLEAN NOT NULL, 
  provenance TEXT NOT NULL, 
  CONSTRAINT pk_metric_sources PRIMARY KEY (id), 
  CONSTRAINT fk_metric_sources_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE, 
  CONSTRAINT uq_metric_sources_experiment_id_name UNIQUE (experiment_id, name)
);

CREATE INDEX ix_metric_sources_fingerprint ON metric_sources (fingerprint);

CREATE TABLE metrics (
  trial_id INTEGER NOT NULL, 
  source_id INTEGER NOT NULL, 
  value DOUBLE NOT NULL, 
  CONSTRAINT pk_metrics PRIMARY KEY (trial_id, source_id), 
  CONSTRAINT ck_metrics_ck_metrics_finite CHECK (abs(value) <= 1.7976931348623157e308), 
  CONSTRAINT fk_metrics_source_id FOREIGN KEY(source_id) REFERENCES metric_sources (id) ON DELETE CASCADE, 
  CONSTRAINT fk_metrics_trial_id FOREIGN KEY(trial_id) REFERENCES trials (id) ON DELETE CASCADE
)
 WITHOUT ROWID;

CREATE INDEX ix_metrics_source_id_trial_id_value ON metrics (source_id, trial_id, value);

CREATE TABLE revisions (
  scope INTEGER NOT NULL, 
  value BIGINT NOT NULL, 
  CONSTRAINT pk_revisions PRIMARY KEY (scope)
);

CREATE TABLE spaces (
  id INTEGER NOT NULL, 
  fingerprint TEXT NOT NULL, 
  name TEXT NOT NULL, 
  CONSTRAINT pk_spaces PRIMARY KEY (id), 
  CONSTRAINT uq_spaces_fingerprint UNIQUE (fingerprint)
);

CREATE TABLE stop_requests (
  experiment_id INTEGER NOT NULL, 
  requested_at DOUBLE NOT NULL, 
  CONSTRAINT pk_stop_requests PRIMARY KEY (experiment_id), 
  CONSTRAINT fk_stop_requests_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE
);

CREATE TABLE strategy_states (
  experiment_id INTEGER NOT NULL, 
  state TEXT NOT NULL, 
  told INTEGER NOT NULL, 
  CONSTRAINT pk_strategy_states PRIMARY KEY (experiment_id), 
  CONSTRAINT fk_strategy_states_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE
);

CREATE TABLE trials (
  id INTEGER NOT NULL, 
  experiment_id INTEGER NOT NULL, 
  number INTEGER NOT NULL, 
  architecture_id INTEGER NOT NULL, 
  status TEXT NOT NULL, 
  seed BIGINT NOT NULL, 
  parent INTEGER, 
  budget DOUBLE, 
  tags TEXT NOT NULL, 
  violation DOUBLE NOT NULL, 
  error TEXT, 
  traceback TEXT, 
  reused_from INTEGER, 
  attempts INTEGER NOT NULL, 
  told INTEGER, 
  created_at DOUBLE NOT NULL, 
  finished_at DOUBLE, 
  duration_s DOUBLE, 
  CONSTRAINT pk_trials PRIMARY KEY (id), 
  CONSTRAINT fk_trials_architecture_id FOREIGN KEY(architecture_id) REFERENCES architectures (id), 
  CONSTRAINT fk_trials_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (id) ON DELETE CASCADE, 
  CONSTRAINT fk_trials_reused_from FOREIGN KEY(reused_from) REFERENCES trials (id) ON DELETE SET NULL, 
  CONSTRAINT uq_trials_experiment_id_number UNIQUE (experiment_id, number)
);

CREATE INDEX ix_trials_architecture_id_experiment_id ON trials (architecture_id, experiment_id);

CREATE INDEX ix_trials_experiment_id_status_number ON trials (experiment_id, status, number);

CREATE INDEX ix_trials_reused_from ON trials (reused_from) WHERE reused_from IS NOT NULL;

CREATE UNIQUE INDEX ix_trials_told ON trials (experiment_id, told) WHERE told IS NOT NULL;
