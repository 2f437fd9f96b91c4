import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { describe, it } from 'node:test';
import { makeCertificates } from '../kit/certificates.js';
import { bearer, MemoryService, token, withServer } from './memory-service.js';
