/* What the files of the stages share. */
#pragma once

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define STAGES_SANITIZED 1
#else
#define STAGES_SANITIZED 0
#endif
