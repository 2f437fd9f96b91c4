/** Load in the form of time-values: what is asked of the process that makes it, and what it gives back. */
import { type BenchService, contentPath } from '../service.js';
import { Driver } from './driver.js';

export interface LoadTask {
  port: number;
  path: string;
  token?: string;
  connectionsCount: number;
  /** Values per request. */
  valuesCount: number;
  /** Distinct points; a request has the next ones. */
  pointsCount: number;
  payloadSizeBytes: number;
  /** 0: until it is told to stop. */
  requestsCount: number;
  /** 0: as fast as requests are answered. */
  valuesPerSecond: number;
  /** Each value has a number of its own, counted from `numbersFrom`. */
  isNumbered: boolean;
  numbersFrom: number;
}

export interface LoadResult {
  requestsCount: number;
  valuesCount: number;
  /** From the first request to the last answer. */
  elapsedMs: number;
  p50Ms: number;
  p99Ms: number;
  mostMs: number;
  /** Of one core, taken by the process that made the load. */
  ownCpuShare: number;
}

export interface LoadProgress {
  /** Values in requests that were answered. */
  valuesCount: number;
}

/** About as long as what the other contenders publish. */
export const PAYLOAD_SIZE_BYTES = 100;
export const REQUEST_VALUES = 1000;

const STANDARD: Omit<LoadTask, 'port'> = {
  path: contentPath('time-values'),
  connectionsCount: 4,
  valuesCount: REQUEST_VALUES,
  pointsCount: 500,
  payloadSizeBytes: PAYLOAD_SIZE_BYTES,
  requestsCount: 0,
  valuesPerSecond: 0,
  isNumbered: false,
  numbersFrom: 0,
};

/** Requests of 1000 values over 4 connections, as fast as they are answered and until it is stopped, unless told. */
export function startLoad(
  service: BenchService,
  task: Partial<LoadTask> = {},
): Promise<Driver<LoadResult, LoadProgress>> {
  return Driver.start('load-main', { ...STANDARD, port: service.port, ...task });
}
