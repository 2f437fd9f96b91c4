/**
 * Nothing that a test starts outlives the test's process, however that process ends.
 *
 * A hook on `exit` covers a normal end. SIGKILL leaves no time for hooks, and a runner uses it on a file that hangs;
 * therefore a small shell stands by in a session of its own, reads from a pipe which processes and folders exist, and
 * clears them away when the pipe closes. Only this process holds the pipe's other end, so it closes with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';

const SHELL_SCRIPT = `
pids=" "
folders=""
while read -r action subject; do
  case "$action" in
    start) pids="$pids$subject " ;;
    end) pids="\${pids%% $subject *} \${pids#* $subject }" ;;
    folder) folders="$folders$subject
" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
printf %s "$folders" | while read -r folder; do rm -rf "$folder"; done
`;

const pids = new Set<number>();
const folders = new Set<string>();
let shell: ChildProcess | undefined;

function tell(line: string): void {
  if (shell === undefined) {
    shell = spawn('/bin/sh', ['-c', SHELL_SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    shell.unref();
    // A pipe of a child process is a net.Socket; only its declared type hides that it can be unreferenced.
    (shell.stdin as Socket).unref();
    process.on('exit', clearAway);
  }
  shell.stdin?.write(`${line}\n`);
}

function clearAway(): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself between its exit and our hearing of it, which is what was wanted.
    }
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** Kills the child when this process ends, if it still runs then. */
export function killAtEnd(child: ChildProcess): void {
  const pid = child.pid;
  if (pid === undefined) return;
  pids.add(pid);
  tell(`start ${pid}`);
  child.once('exit', () => {
    pids.delete(pid);
    tell(`end ${pid}`);
  });
}

/** Removes the folder, with all that is in it, when this process ends. */
export function removeAtEnd(folder: string): void {
  folders.add(folder);
  tell(`folder ${folder}`);
}
