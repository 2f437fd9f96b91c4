/**
 * Secrets that were handed in through the API or the console, encrypted in the data directory.
 *
 *     secrets.json   { version, secrets: { NAME: { nonce, tag, data } } }     AES-256-GCM, base64
 *     key            32 bytes: in MQTT_NORTH_KEY, or in a file of its own outside the data directory
 *
 * - Each encryption has a fresh random nonce: with a repeated one, two ciphertexts would give away both texts.
 * - A secret's name is authenticated with it, so that nobody can put one ciphertext under another name.
 * - The key is not beside the data, so that a copy of the data directory gives nothing away.
 * - The file is replaced as a whole; the owner of the data directory is its only writer.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { createFile, replaceFile } from './atomic-file.js';

const ALGORITHM = 'aes-256-gcm';
const KEY_SIZE_BYTES = 32;
const NONCE_SIZE_BYTES = 12;
const TAG_SIZE_BYTES = 16;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

const fileSchema = z.strictObject({
  version: z.literal(1),
  secrets: z.record(z.string(), z.strictObject({ nonce: z.base64(), tag: z.base64(), data: z.base64() })),
});
type SecretsFile = z.output<typeof fileSchema>;

export interface SecretStoreOptions {
  dataDir: string;
  env: Readonly<Record<string, string | undefined>>;
}

export class SecretStore {
  readonly #file: string;
  readonly #dataDir: string;
  readonly #env: SecretStoreOptions['env'];

  constructor({ dataDir, env }: SecretStoreOptions) {
    this.#dataDir = resolve(dataDir);
    this.#file = join(this.#dataDir, 'secrets.json');
    this.#env = env;
  }

  /** Where the key is kept when it is not in the environment. */
  get keyFile(): string {
    const config = this.#env.XDG_CONFIG_HOME;
    const base = config === undefined || config === '' ? join(this.#env.HOME ?? homedir(), '.config') : config;
    return resolve(base, 'mqtt-north', 'key');
  }

  /** True when the key is in a file that other users of this machine can read. */
  isKeyExposed(): boolean {
    if ((this.#env.MQTT_NORTH_KEY ?? '') !== '' || process.platform === 'win32') return false;
    const stat = statSync(this.keyFile, { throwIfNoEntry: false });
    return stat !== undefined && (stat.mode & 0o077) !== 0;
  }

  names(): string[] {
    return Object.keys(this.#read().secrets);
  }

  /** The secret, or undefined when there is none of this name. Throws SECRET_KEY_INVALID or SECRET_UNREADABLE. */
  get(name: string): string | undefined {
    const { secrets } = this.#read();
    const sealed = Object.hasOwn(secrets, name) ? secrets[name] : undefined;
    if (sealed === undefined) return undefined;
    const key = this.#keyFromEnvironment() ?? this.#keyFromFile();
    if (key === undefined) {
      throw new NorthError('SECRET_KEY_INVALID', 'The key of the stored secrets is gone.', { place: this.keyFile });
    }
    try {
      const decipher = createDecipheriv(ALGORITHM, key, Buffer.from(sealed.nonce, 'base64'), {
        authTagLength: TAG_SIZE_BYTES,
      });
      decipher.setAAD(Buffer.from(name));
      decipher.setAuthTag(Buffer.from(sealed.tag, 'base64'));
      return Buffer.concat([decipher.update(Buffer.from(sealed.data, 'base64')), decipher.final()]).toString();
    } catch (error) {
      const message = `The stored secret "${name}" cannot be decrypted.`;
      throw new NorthError('SECRET_UNREADABLE', message, { place: this.#file, cause: error });
    }
  }

  /** Returns when the secret is on stable storage. Makes the key file if there is no key yet. */
  set(name: string, secret: string): void {
    if (!NAME.test(name)) throw new NorthError('SECRET_NAME_INVALID', 'The name of the secret is not allowed.');
    const key = this.#keyFromEnvironment() ?? this.#keyFromFile() ?? this.#makeKey();
    const nonce = randomBytes(NONCE_SIZE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_SIZE_BYTES });
    cipher.setAAD(Buffer.from(name));
    const data = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    const { secrets } = this.#read();
    const sealed = {
      nonce: nonce.toString('base64'),
      tag: cipher.getAuthTag().toString('base64'),
      data: data.toString('base64'),
    };
    this.#write({ version: 1, secrets: { ...secrets, [name]: sealed } });
  }

  /** True when there was one. */
  remove(name: string): boolean {
    const { secrets } = this.#read();
    if (!Object.hasOwn(secrets, name)) return false;
    const { [name]: _removed, ...rest } = secrets;
    this.#write({ version: 1, secrets: rest });
    return true;
  }

  #read(): SecretsFile {
    let text: string;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return { version: 1, secrets: {} };
      throw new NorthError('SECRET_UNREADABLE', `The stored secrets cannot be read: ${errorText(error)}.`, {
        place: this.#file,
        cause: error,
      });
    }
    try {
      return fileSchema.parse(JSON.parse(text));
    } catch (error) {
      // An unreadable file is never taken for an empty one: the next `set` would overwrite every secret in it.
      throw new NorthError('SECRET_UNREADABLE', 'The file of the stored secrets is damaged.', {
        place: this.#file,
        cause: error,
      });
    }
  }

  #write(content: SecretsFile): void {
    try {
      mkdirSync(this.#dataDir, { recursive: true });
      replaceFile(this.#file, `${JSON.stringify(content, null, 2)}\n`, 0o600);
    } catch (error) {
      throw unwritable(this.#file, error);
    }
  }

  #keyFromEnvironment(): Buffer | undefined {
    const text = this.#env.MQTT_NORTH_KEY;
    return text === undefined || text === '' ? undefined : decodeKey(text, 'MQTT_NORTH_KEY');
  }

  #keyFromFile(): Buffer | undefined {
    try {
      return decodeKey(readFileSync(this.keyFile, 'utf8'), this.keyFile);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      if (error instanceof NorthError) throw error;
      throw new NorthError('SECRET_KEY_INVALID', `The key cannot be read: ${errorText(error)}.`, {
        place: this.keyFile,
        cause: error,
      });
    }
  }

  #makeKey(): Buffer {
    const inside = relative(this.#dataDir, this.keyFile);
    if (!inside.startsWith('..') && !isAbsolute(inside)) {
      throw new NorthError('SECRET_KEY_INVALID', 'The key file would be inside the data directory.', {
        place: this.keyFile,
        remedy: 'Set MQTT_NORTH_KEY, or XDG_CONFIG_HOME to a folder outside the data directory.',
      });
    }
    const key = randomBytes(KEY_SIZE_BYTES);
    let isNew: boolean;
    try {
      mkdirSync(dirname(this.keyFile), { recursive: true, mode: 0o700 });
      isNew = createFile(this.keyFile, `${key.toString('base64')}\n`, 0o600);
    } catch (error) {
      throw unwritable(this.keyFile, error);
    }
    // Another process may have been faster; then its key is the key.
    return isNew ? key : (this.#keyFromFile() ?? key);
  }
}

function decodeKey(text: string, place: string): Buffer {
  const trimmed = text.trim();
  const key = /^[0-9a-fA-F]{64}$/.test(trimmed) ? Buffer.from(trimmed, 'hex') : Buffer.from(trimmed, 'base64');
  const isBase64 = key.toString('base64').replace(/=+$/, '') === trimmed.replace(/=+$/, '');
  if (key.length !== KEY_SIZE_BYTES || !(isBase64 || key.toString('hex') === trimmed.toLowerCase())) {
    throw new NorthError('SECRET_KEY_INVALID', 'The key is not 32 bytes in base64 or hexadecimal.', { place });
  }
  return key;
}

function unwritable(place: string, error: unknown): NorthError {
  return new NorthError('CONFIG_UNWRITABLE', `The file could not be written: ${errorText(error)}.`, {
    place,
    cause: error,
  });
}
