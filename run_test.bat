@echo off
rem Build the image, run it, classify pictures with one request, print the answer, stop.
rem
rem   run_test.bat cat1.jpg dog1.jpg ...
rem
rem PORT (5000), IMAGE (densenet-serve-test) and DOCKER_RUN_ARGS (such as "--gpus all") may be set.
setlocal
if "%~1"=="" (
  echo usage: run_test.bat IMAGE... 1>&2
  exit /b 2
)
if not defined PORT set PORT=5000
if not defined IMAGE set IMAGE=densenet-serve-test

set FORM=
:next
if "%~1"=="" goto build
if not exist "%~1" (
  echo run_test: there is no file %1 1>&2
  exit /b 2
)
set FORM=%FORM% --form "file=@%~1"
shift /1
goto next

:build
docker build --tag %IMAGE% "%~dp0." || exit /b 1
set CONTAINER=
for /f %%C in ('docker run --detach --publish %PORT%:5000 %DOCKER_RUN_ARGS% %IMAGE%') do set CONTAINER=%%C
if not defined CONTAINER exit /b 1

echo Waiting until it is ready ...
:wait
curl --silent --fail --output NUL http://localhost:%PORT%/readyz && goto ready
docker inspect --format "{{.State.Running}}" %CONTAINER% | findstr true >NUL || (
  docker logs %CONTAINER% 1>&2
  echo run_test: the container has ended 1>&2
  docker rm --force %CONTAINER% >NUL
  exit /b 1
)
timeout /t 1 /nobreak >NUL
goto wait

:ready
curl --silent --show-error --fail-with-body %FORM% http://localhost:%PORT%/predict
set STATUS=%ERRORLEVEL%
echo.
docker stop --time 60 %CONTAINER% >NUL
docker rm --force %CONTAINER% >NUL
exit /b %STATUS%
