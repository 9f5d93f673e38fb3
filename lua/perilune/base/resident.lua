-- SPDX-License-Identifier: Apache-2.0
--
-- Resident memory of this process in bytes (VmRSS of proc_pid_status(5)); nil where the kernel does not say.

return function()
  local file = io.open "/proc/self/status"
  local text = file and file:read "*a"
  if file then file:close() end
  local kilobytes = text and text:match "VmRSS:%s*(%d+) kB"
  return kilobytes and tonumber(kilobytes) * 1024
end
