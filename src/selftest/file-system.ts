/** On what a folder lies: the file system, the device below it, and how far its promises can be relied on. */
import { readFileSync, realpathSync } from 'node:fs';
import { join, sep } from 'node:path';
import { systemCode } from '../core/error.js';
import { type Check, passed, warned } from './check.js';

/** `unknown` where the operating system does not tell. */
export type FileSystemKind = 'local' | 'memory' | 'overlay' | 'network' | 'unknown';

export interface FileSystem {
  kind: FileSystemKind;
  /** As the operating system calls it: `ext4`. */
  type: string;
  mountPoint: string;
  /** `/dev/sda2`, `server:/export`. */
  device: string;
  options: readonly string[];
  disk: Disk | undefined;
}

export interface Disk {
  /** Magnetic; undefined where that is not told, and for a virtual disk, which mostly says so whatever it is. */
  isRotating: boolean | undefined;
  /** Of a virtual machine: what a sync is worth is decided by the host. */
  isVirtual: boolean;
  /** `write back`: the device has a cache that is emptied on each sync; `write through`: it says that it has none. */
  writeCache: string | undefined;
}

const MEMORY = new Set(['tmpfs', 'ramfs', 'devtmpfs', 'hugetlbfs', 'rootfs']);
const OVERLAY = new Set(['overlay', 'overlayfs', 'aufs', 'unionfs']);
/** Shared folders of a hypervisor behave as network file systems do: another system decides what a sync is. */
const NETWORK =
  /^(nfs\d?|cifs|smb\d?|smbfs|9p|virtiofs|vboxsf|drvfs|vmhgfs|prl_fs|afs|ceph|glusterfs|lustre|beegfs|gfs2|ocfs2|fuse(\..*)?)$/;

/** virtio, Xen, Hyper-V. */
const VIRTUAL_DISK = /\/(virtio\d+|vbd-\d+|xvd[a-z]+|vmbus)(\/|$)|\/VMBUS:/;

/** Of an existing folder. */
export function fileSystemOf(folder: string): FileSystem {
  const mounts = readText('/proc/self/mountinfo');
  const found = mounts === undefined ? undefined : findMount(mounts, realpathSync(folder));
  if (found === undefined) {
    return { kind: 'unknown', type: process.platform, mountPoint: '', device: '', options: [], disk: undefined };
  }
  const { deviceNumber, ...mount } = found;
  const kind = kindOf(mount.type);
  return { ...mount, kind, disk: kind === 'local' ? readDisk(deviceNumber) : undefined };
}

interface Mount {
  type: string;
  mountPoint: string;
  device: string;
  options: readonly string[];
  /** `8:2`. */
  deviceNumber: string;
}

/** The mount that a path lies on, from the text of /proc/self/mountinfo (proc(5)). */
export function findMount(mountinfo: string, path: string): Mount | undefined {
  let found: Mount | undefined;
  for (const line of mountinfo.split('\n')) {
    const [before = '', after] = line.split(' - ');
    const [, , deviceNumber, , mountPoint, options] = before.split(' ');
    const [type, device, superOptions] = (after ?? '').split(' ');
    if (deviceNumber === undefined || mountPoint === undefined || type === undefined || type === '') continue;
    const place = decodeMount(mountPoint);
    const isAbove = path === place || path.startsWith(place.endsWith(sep) ? place : place + sep);
    // The longest path wins; of two mounts on one place, the later one covers the other.
    if (!isAbove || place.length < (found?.mountPoint.length ?? 0)) continue;
    found = {
      type,
      mountPoint: place,
      device: decodeMount(device ?? ''),
      options: [...new Set([...(options ?? '').split(','), ...(superOptions ?? '').split(',')])],
      deviceNumber,
    };
  }
  return found;
}

/** Spaces and other separators are written as octal numbers there. */
function decodeMount(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_match, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

function kindOf(type: string): FileSystemKind {
  if (MEMORY.has(type)) return 'memory';
  if (OVERLAY.has(type)) return 'overlay';
  return NETWORK.test(type) ? 'network' : 'local';
}

/** A partition has its queue one folder above, in that of its disk. */
function readDisk(deviceNumber: string): Disk | undefined {
  let folder: string;
  try {
    folder = realpathSync(join('/sys/dev/block', deviceNumber));
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
  const read = (name: string): string | undefined =>
    (readText(join(folder, 'queue', name)) ?? readText(join(folder, '..', 'queue', name)))?.trim();
  const isVirtual = VIRTUAL_DISK.test(folder);
  const rotational = isVirtual ? undefined : read('rotational');
  return {
    isRotating: rotational === undefined ? undefined : rotational === '1',
    isVirtual,
    writeCache: read('write_cache'),
  };
}

/** Undefined where there is no such file, or none that can be read: then less is known, and nothing is wrong. */
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

/** With one of these, the file system does not tell the device to empty its cache. */
const WITHOUT_BARRIERS = new Set(['nobarrier', 'barrier=0', 'barrier=none']);

export function checkFileSystem({ kind, type, mountPoint, device, options, disk }: FileSystem): Check {
  const name = 'file system';
  const parts = [`${type} at ${mountPoint}`, `on ${device}`];
  if (disk?.isVirtual === true) parts.push('a virtual disk');
  if (disk?.isRotating !== undefined) parts.push(disk.isRotating ? 'reported as magnetic' : 'not magnetic');
  if (disk?.writeCache !== undefined) parts.push(`write cache: ${disk.writeCache}`);
  const found = kind === 'unknown' ? `this system (${type}) does not tell` : parts.join(', ');
  const unsafe = options.find((option) => WITHOUT_BARRIERS.has(option));
  if (unsafe !== undefined) {
    return warned(
      name,
      `${found}, mounted with "${unsafe}"`,
      'A sync does not empty the cache of the disk: what was accepted last can be gone after a power cut.',
      `Mount ${mountPoint} without "${unsafe}", unless the disk keeps its cache through a power cut.`,
    );
  }
  switch (kind) {
    case 'memory':
      return warned(
        name,
        found,
        'It lies in memory: everything that waits is gone with the power, and with a restart of the machine.',
        'Put dataDir on a disk.',
      );
    case 'overlay':
      return warned(
        name,
        found,
        'It is the layer of a container: what waits is gone when the container is made anew, with each update.',
        'Put dataDir on a volume that outlives the container.',
      );
    case 'network':
      return warned(
        name,
        found,
        'Another system decides what a sync and a lock are worth, and its outage stops the acceptance of data.',
        'Put dataDir on a local disk. SQLite advises against network file systems.',
      );
    case 'unknown':
      return warned(
        name,
        found,
        'Whether the folder lies on a disk, in memory or elsewhere is not known here.',
        'See to it that dataDir is on a local disk.',
      );
    case 'local':
      return passed(name, found, 'A local file system keeps what was synced.');
  }
}
