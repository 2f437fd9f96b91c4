/** Where data comes from, besides the API: one schema per type of input. */
import { z } from 'zod';
import { id } from './connector.js';
import { duration, size } from './quantity.js';
import { filePath } from './secret.js';

const DAY_MS = 86_400_000;

/** The groups of this machine's own measurements. */
export const HOST_SENSORS = ['cpu', 'load', 'memory', 'disk', 'network', 'temperature', 'uptime'] as const;
export type HostSensor = (typeof HOST_SENSORS)[number];

export const FILE_CONTENT_TYPES = ['auto', 'csv', 'json', 'time-values', 'setpoints', 'messages'] as const;
export type FileContentType = (typeof FILE_CONTENT_TYPES)[number];

const shared = {
  id: id().describe('Unique. Transformers refer to it in `from`.'),
  enabled: z.boolean().default(true).describe('A disabled input takes nothing.'),
  connectors: z.array(z.string().min(1)).min(1).exactOptional().meta({
    description: 'Connectors that it feeds, by id.',
    'x-default': 'all that have a transformer for it',
  }),
};

export const hostSensorsSchema = z
  .strictObject({
    ...shared,
    type: z.literal('host-sensors'),
    interval: duration({ min: 100, max: DAY_MS }).prefault('1 s').describe('Time between two samples.'),
    sensors: z
      .array(z.enum(HOST_SENSORS))
      .min(1)
      .default([...HOST_SENSORS])
      .describe('Groups to measure. What this machine does not have is left out.'),
    prefix: z
      .string()
      .min(1)
      .max(200)
      .default('host')
      .describe('First part of each point id: `host` gives `host/cpu/load`.'),
  })
  .describe("This machine's own measurements: CPU, memory, disks, network, temperature.");

export const folderSchema = z
  .strictObject({
    ...shared,
    type: z.literal('folder'),
    path: filePath().describe('Folder that is watched; made if missing. Taken files go to done/ or failed/ inside it.'),
    pattern: z
      .string()
      .min(1)
      .max(1000)
      .default('*.{csv,json}')
      .describe('Which names are taken. Dot files, *.tmp and *.part never are.'),
    contentType: z
      .enum(FILE_CONTENT_TYPES)
      .default('auto')
      .describe(
        'What the files hold. auto: csv or json by the extension. The list types take a JSON list, or one element per line in .ndjson and .jsonl files.',
      ),
    interval: duration({ min: 100, max: DAY_MS }).prefault('1 s').describe('Time between two looks at the folder.'),
    settleTime: duration({ min: 0, max: 3_600_000 })
      .prefault('2 s')
      .describe(
        'A file is complete when size and time have not changed for so long. 0 where producers write under another name and rename.',
      ),
    jsonMaxSize: size({ min: 1024, max: 512 * 1024 ** 2 })
      .prefault('64 MiB')
      .describe('Largest JSON file; a larger one fails. CSV and line files are streamed and have no limit.'),
  })
  .describe('Files that are dropped into a folder, oldest first.');

export const inputSchema = z.discriminatedUnion('type', [hostSensorsSchema, folderSchema]);

/** Sizes in bytes, times in milliseconds. */
export type InputConfig = z.output<typeof inputSchema>;
export type HostSensorsConfig = z.output<typeof hostSensorsSchema>;
export type FolderConfig = z.output<typeof folderSchema>;
