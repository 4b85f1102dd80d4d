-- A ledger of the first version, before there were migrations: what `sqlite3 ledger.sqlite .dump` says of one with the
-- run of `builders.mixed_run` in it, as the code of that version wrote it.
PRAGMA journal_mode = WAL;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	device INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	baud INTEGER NOT NULL, 
	started DOUBLE NOT NULL, 
	error JSON, 
	wait_s DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(device) REFERENCES devices (id) ON DELETE CASCADE
);
INSERT INTO "attempts" VALUES(1,1,0,1,921600,1790000000.01,'null',NULL);
INSERT INTO "attempts" VALUES(2,2,0,1,921600,1790000000.01,'{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": null}',2.0);
INSERT INTO "attempts" VALUES(3,2,1,2,460800,1790000009.61,'null',NULL);
INSERT INTO "attempts" VALUES(4,3,0,1,921600,1790000000.01,'null',NULL);
INSERT INTO "attempts" VALUES(5,4,0,1,921600,1790000000.01,'null',NULL);
INSERT INTO "attempts" VALUES(6,5,0,1,921600,1790000000.01,'{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": "identify"}',2.0);
INSERT INTO "attempts" VALUES(7,5,1,2,460800,1790000007.01,'null',NULL);
INSERT INTO "attempts" VALUES(8,6,0,1,921600,1790000000.01,'null',NULL);
INSERT INTO "attempts" VALUES(9,7,0,1,921600,1790000000.01,'null',NULL);
CREATE TABLE devices (
	id INTEGER NOT NULL, 
	run_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	device_id VARCHAR NOT NULL, 
	device_type VARCHAR NOT NULL, 
	port VARCHAR NOT NULL, 
	wanted_version VARCHAR, 
	outcome VARCHAR NOT NULL, 
	chip VARCHAR, 
	revision VARCHAR, 
	serial VARCHAR, 
	flash_size INTEGER, 
	version_before VARCHAR, 
	version_after VARCHAR, 
	error_category VARCHAR, 
	error JSON, 
	reason VARCHAR NOT NULL, 
	worker VARCHAR NOT NULL, 
	started DOUBLE, 
	ended DOUBLE, 
	PRIMARY KEY (id), 
	UNIQUE (run_id, device_id), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "devices" VALUES(1,'20260923-101320-fleet-c0de',0,'ESP32_001','esp32','/dev/ttyUSB1','1.2.0','updated','ESP32-D0WD-V3','v3.1','24:6f:28:00:00:01',4194304,'1.1.0','1.2.0',NULL,'null','','gw0',1790000000.0,1790000016.41);
INSERT INTO "devices" VALUES(2,'20260923-101320-fleet-c0de',1,'ESP32_002','esp32','/dev/ttyUSB2','1.2.0','updated','ESP32-D0WD-V3','v3.1','24:6f:28:00:00:02',4194304,'1.1.0','1.2.0',NULL,'null','','gw0',1790000000.0,1790000032.01);
INSERT INTO "devices" VALUES(3,'20260923-101320-fleet-c0de',2,'ESP32_003','esp32','/dev/ttyUSB3','1.2.0','unchanged','ESP32-D0WD-V3','v3.1','24:6f:28:00:00:03',4194304,'1.1.0','1.2.0',NULL,'null','','gw0',1790000000.0,1790000003.51);
INSERT INTO "devices" VALUES(4,'20260923-101320-fleet-c0de',3,'ESP32_004','esp32','/dev/ttyUSB4','1.2.0','rolled-back','ESP32-D0WD-V3','v3.1','24:6f:28:00:00:04',4194304,'1.1.0','1.1.0','verification','{"category": "verification", "kind": "VerificationFailed", "message": "the flash at 0x10000 does not hold app.bin", "advice": "What is in flash differs from the image.", "phase": "verify"}','','gw0',1790000000.0,1790000021.61);
INSERT INTO "devices" VALUES(5,'20260923-101320-fleet-c0de',4,'ESP32_005','esp32','/dev/ttyUSB5','1.2.0','untouched',NULL,NULL,NULL,NULL,NULL,NULL,'connection','{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": "identify"}','','gw0',1790000000.0,1790000012.01);
INSERT INTO "devices" VALUES(6,'20260923-101320-fleet-c0de',5,'ESP32_006','esp32','/dev/ttyUSB6','1.2.0','emergency','ESP32-D0WD-V3','v3.1','24:6f:28:00:00:06',4194304,'1.1.0',NULL,'verification','{"category": "verification", "kind": "VerificationFailed", "message": "the flash at 0x10000 does not hold app.bin", "advice": "What is in flash differs from the image.", "phase": "verify"}','the rollback failed: No serial data received.','gw0',1790000000.0,1790000021.61);
INSERT INTO "devices" VALUES(7,'20260923-101320-fleet-c0de',6,'ESP32_007','esp32','/dev/ttyUSB7','1.2.0','emergency','ESP32-D0WD-V3','v3.1','24:6f:28:00:00:07',4194304,'1.1.0',NULL,'other','{"category": "other", "kind": "Interrupted", "message": "its worker process died during flash", "advice": "Resume the run: the board is verified, then finished or restored.", "phase": "flash"}','its worker process died during flash','gw0',1790000000.0,1790000006.61);
INSERT INTO "devices" VALUES(8,'20260923-101320-fleet-c0de',7,'ESP32_008','esp32','/dev/ttyUSB8','1.2.0','not-run',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'null','the run was interrupted','',NULL,NULL);
CREATE TABLE phases (
	id INTEGER NOT NULL, 
	device INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	phase VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	started DOUBLE NOT NULL, 
	ended DOUBLE, 
	outcome VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	figures JSON NOT NULL, 
	error JSON, 
	PRIMARY KEY (id), 
	FOREIGN KEY(device) REFERENCES devices (id) ON DELETE CASCADE
);
INSERT INTO "phases" VALUES(1,1,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(2,1,1,'identify',1,1790000000.01,1790000000.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(3,1,2,'backup',1,1790000000.61,1790000004.61,'passed','','{"bytes": 4194304}','null');
INSERT INTO "phases" VALUES(4,1,3,'flash',1,1790000004.61,1790000014.61,'passed','','{"bytes": 1048576}','null');
INSERT INTO "phases" VALUES(5,1,4,'verify',1,1790000014.61,1790000015.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(6,1,5,'boot',1,1790000015.61,1790000016.41,'passed','','{}','null');
INSERT INTO "phases" VALUES(7,2,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(8,2,1,'identify',1,1790000000.01,1790000000.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(9,2,2,'backup',1,1790000000.61,1790000004.61,'passed','','{"bytes": 4194304}','null');
INSERT INTO "phases" VALUES(10,2,3,'flash',1,1790000004.61,1790000007.61,'failed','','{}','{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": "flash"}');
INSERT INTO "phases" VALUES(11,2,4,'identify',2,1790000009.61,1790000010.21,'passed','','{}','null');
INSERT INTO "phases" VALUES(12,2,5,'flash',2,1790000010.21,1790000030.21,'passed','','{"bytes": 1048576}','null');
INSERT INTO "phases" VALUES(13,2,6,'verify',2,1790000030.21,1790000031.21,'passed','','{}','null');
INSERT INTO "phases" VALUES(14,2,7,'boot',2,1790000031.21,1790000032.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(15,3,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(16,3,1,'identify',1,1790000000.01,1790000000.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(17,3,2,'backup',1,1790000000.61,1790000001.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(18,3,3,'flash',1,1790000001.61,1790000001.71,'skipped','','{}','null');
INSERT INTO "phases" VALUES(19,3,4,'verify',1,1790000001.71,1790000002.71,'passed','','{}','null');
INSERT INTO "phases" VALUES(20,3,5,'boot',1,1790000002.71,1790000003.51,'passed','','{}','null');
INSERT INTO "phases" VALUES(21,4,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(22,4,1,'identify',1,1790000000.01,1790000000.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(23,4,2,'backup',1,1790000000.61,1790000004.61,'passed','','{"bytes": 4194304}','null');
INSERT INTO "phases" VALUES(24,4,3,'flash',1,1790000004.61,1790000014.61,'passed','','{"bytes": 1048576}','null');
INSERT INTO "phases" VALUES(25,4,4,'verify',1,1790000014.61,1790000015.61,'failed','','{}','{"category": "verification", "kind": "VerificationFailed", "message": "the flash at 0x10000 does not hold app.bin", "advice": "What is in flash differs from the image.", "phase": "verify"}');
INSERT INTO "phases" VALUES(26,4,5,'rollback',1,1790000015.61,1790000021.61,'passed','','{"bytes": 1048576}','null');
INSERT INTO "phases" VALUES(27,5,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(28,5,1,'identify',1,1790000000.01,1790000005.01,'failed','','{}','{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": "identify"}');
INSERT INTO "phases" VALUES(29,5,2,'identify',2,1790000007.01,1790000012.01,'failed','','{}','{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": "identify"}');
INSERT INTO "phases" VALUES(30,6,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(31,6,1,'identify',1,1790000000.01,1790000000.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(32,6,2,'backup',1,1790000000.61,1790000004.61,'passed','','{"bytes": 4194304}','null');
INSERT INTO "phases" VALUES(33,6,3,'flash',1,1790000004.61,1790000014.61,'passed','','{"bytes": 1048576}','null');
INSERT INTO "phases" VALUES(34,6,4,'verify',1,1790000014.61,1790000015.61,'failed','','{}','{"category": "verification", "kind": "VerificationFailed", "message": "the flash at 0x10000 does not hold app.bin", "advice": "What is in flash differs from the image.", "phase": "verify"}');
INSERT INTO "phases" VALUES(35,6,5,'rollback',1,1790000015.61,1790000021.61,'failed','','{}','{"category": "connection", "kind": "ConnectionLost", "message": "No serial data received.", "advice": "Check the cable and the board''s power.", "phase": null}');
INSERT INTO "phases" VALUES(36,7,0,'lock',0,1790000000.0,1790000000.01,'passed','','{}','null');
INSERT INTO "phases" VALUES(37,7,1,'identify',1,1790000000.01,1790000000.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(38,7,2,'backup',1,1790000000.61,1790000004.61,'passed','','{}','null');
INSERT INTO "phases" VALUES(39,7,3,'flash',1,1790000004.61,NULL,'running','','{}','null');
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	batch_name VARCHAR NOT NULL, 
	batch_file VARCHAR NOT NULL, 
	description VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	strategy VARCHAR NOT NULL, 
	started DOUBLE NOT NULL, 
	ended DOUBLE, 
	simulated BOOLEAN NOT NULL, 
	interrupted VARCHAR NOT NULL, 
	total_count INTEGER NOT NULL, 
	success_count INTEGER NOT NULL, 
	failure_count INTEGER NOT NULL, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('20260923-101320-fleet-c0de','Fleet','batches/fleet.yaml','Deploy 1.2.0','1.2.0','parallel',1790000000.0,1790000033.01,0,'the run was interrupted',8,3,4);
CREATE INDEX ix_runs_started ON runs (started);
CREATE INDEX ix_devices_outcome ON devices (outcome);
CREATE INDEX ix_devices_device_id ON devices (device_id);
CREATE INDEX ix_devices_serial ON devices (serial);
CREATE INDEX ix_attempts_device ON attempts (device);
CREATE INDEX ix_phases_device ON phases (device);
COMMIT;
